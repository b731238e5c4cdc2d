"""The model: its configuration, its backends, and the queue in front of it.

`load_model` reads the configuration, loads the file, checks that heads and labels fit, and chooses
how to run it. `Batcher` is what the predictor speaks to. Nothing here knows where images come from.
"""

from consumer.model.batcher import Batcher
from consumer.model.choice import Choice
from consumer.model.config import ModelConfig
from consumer.model.model import Model, load_model, tuned_batching

__all__ = ["Batcher", "Choice", "Model", "ModelConfig", "load_model", "tuned_batching"]
