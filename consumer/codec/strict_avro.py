"""One record of Avro bytes → its fields, where every byte has one meaning and no other.

fastavro reads on where the specification (Avro 1.12, "Binary encoding") has no answer: of two equal keys
it keeps the last, of a number of 70 bits the lower 64, and a block's size it skips. A reader in another
language would see another event, or none. Here such a value is refused, as `strict_json` refuses its like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST_NUMBER = 10
"""Bytes of a 64 bit number, 7 bits in each."""


class NotAvro(Exception):
    """The bytes are no value of the schema; the text repeats nothing of them."""


class Reader:
    """Reads values of ``null``, ``long``, ``string``, ``map``, ``record`` and unions, from ``at`` on.

    A schema is what `fastavro.parse_schema` makes of it.
    """

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at
        """Where the next value begins."""

    def value(self, schema: Any) -> Any:
        """The next value.

        Raises:
            NotAvro: there is none.
        """
        if isinstance(schema, list):
            return self.value(schema[self._index(len(schema))])
        kind = schema["type"] if isinstance(schema, dict) else schema
        match kind:
            case "string":
                return self._string()
            case "long":
                return self._long()
            case "null":
                return None
            case "map":
                return self._map(schema["values"])
            case "record":
                return {field["name"]: self.value(field["type"]) for field in schema["fields"]}
            case _ if isinstance(kind, dict | list):
                return self.value(kind)
        raise AssertionError(f"a schema of ours has the type {kind}, which nothing here reads")

    def _map(self, values: Any) -> Mapping[str, Any]:
        read: dict[str, Any] = {}
        while count := self._long():
            size = None
            if count < 0:  # then the block's size in bytes follows
                count, size = -count, self._long()
            begin = self.at
            for _ in range(count):
                key = self._string()
                if key in read:
                    raise NotAvro("it has the same key twice")
                read[key] = self.value(values)
            if size is not None and size != self.at - begin:
                raise NotAvro("a block has another size than it says")
        return read

    def _string(self) -> str:
        length = self._long()
        end = self.at + length
        if length < 0 or end > len(self._data):
            raise NotAvro("a text is longer than what is left")
        try:
            text = self._data[self.at : end].decode()
        except UnicodeDecodeError:
            raise NotAvro("a text is not UTF-8") from None
        self.at = end
        return text

    def _index(self, branches: int) -> int:
        index = self._long()
        if not 0 <= index < branches:
            raise NotAvro("a union has no such branch")
        return index

    def _long(self) -> int:
        """A zigzag number, seven bits a byte, the lowest first."""
        number = 0
        for place, byte in enumerate(self._data[self.at : self.at + LONGEST_NUMBER]):
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                if (place and not byte) or number >= 2**64:
                    raise NotAvro("a number has more than 64 bits, or more bytes than it needs")
                self.at += place + 1
                return number >> 1 ^ -(number & 1)
        raise NotAvro("it ends inside a number, or a number does not end")
