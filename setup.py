"""Packaging: what `pip install .` installs. Tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

# Every range is one that the tests ran with: the lower end is the version they ran on, the upper end
# the next release that may break (a major one, or a minor one where the project breaks in those).
SERVICE = [
    "confluent-kafka>=2.16,<2.17",  # facts about librdkafka 2.16 are relied on, see consumer/stream
    "tensorflow>=2.21,<2.22",
    "keras>=3.15,<4",
    "numpy>=2.4,<3",
    "pillow>=13,<14",
    "requests>=2.34,<3",
    "urllib3>=2.7,<3",  # 2.7 fixes several decompression bombs
    "certifi",  # root certificates; dated releases, always the newest
    "idna>=3,<4",
    "fastavro>=1.13,<2",
    "prometheus-client>=0.26,<1",
    "fastapi>=0.165,<0.166",
    "uvicorn>=0.54,<0.55",
    "fastapi-swagger==0.4.64",  # Swagger UI 5.34.0 for /docs, the very bytes of npm's swagger-ui-dist
    "pyyaml>=6,<7",
    "rich>=15,<16",  # tables and progress bars
]

EXTRAS = {
    "openvino": ["openvino>=2026.0,<2027"],
    "quantize": ["nncf>=3.4,<3.5", "openvino>=2026.4,<2027"],  # image-tools quantize; serving its copies needs openvino
    "keras2": ["tf-keras>=2.21,<2.22"],  # .h5 files with TensorFlow op layers, which Keras 3 cannot load
    "bench": ["matplotlib>=3.11,<3.12"],  # the plot of the benchmarks
    "dev": [
        "pytest>=9,<10",
        "hypothesis>=6.170,<7",
        "httpx>=0.28,<0.29",  # asks the ASGI application without a server
        "testcontainers>=4.15,<5",
        "greenlet>=3.5,<4",  # the processes of the simulation
        "types-greenlet",
        "ruff>=0.17,<0.18",
        "mypy>=2.4,<3",
        "types-PyYAML",
        "types-requests",
    ],
}

setup(
    name="image-consumer",
    version="0.1.0",
    description="Image-URL events in, predictions of a multitask classifier out: exactly once, in order.",
    long_description=Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["consumer", "consumer.*", "producer_tools", "producer_tools.*", "schemas"]),
    package_data={
        "consumer": ["librdkafka_properties.txt", "shipped_model/*", "py.typed"],
        "producer_tools": ["py.typed"],
        "schemas": ["*.avsc", "*.yml", "py.typed"],
    },
    install_requires=SERVICE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "image-consumer = consumer.cli:main",
            "image-tools = producer_tools.cli:main",
        ]
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Framework :: FastAPI",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
