"""Tables of a run: Parquet files whose columns are known before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from envs_mjx.checks import UserError
from swmjax.runs.files import read, replacing
from swmjax.runs.plain import one_line, plain


@dataclass(frozen=True)
class Table:
    """A kind of table.

    Args:
        name: what a row tells of, in the plural; the file is `<name>.parquet`.
        schema: columns and their types.
        optional: columns that may be empty, and that tables of earlier releases may lack.
    """

    name: str
    schema: pa.Schema
    optional: frozenset[str] = frozenset()

    def path(self, run: Path) -> Path:
        """The file in a run folder."""
        return run / f"{self.name}.parquet"

    def write(self, run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the table, all rows so far; the old file is replaced at once.

        Args:
            run: the run folder.
            rows: mappings with the columns of the schema; optional ones may be missing or None.

        Raises:
            UserError: a row lacks a column, has one more, or holds a value of another type.
            OSError: the file cannot be written.
        """
        names = set(self.schema.names)
        for i, row in enumerate(rows):
            if not names - self.optional <= set(row) <= names:
                raise UserError(f"row {i} of the {self.name} has {sorted(row)}, it must have {sorted(names)}")
            for field in self.schema:
                value = row.get(field.name)
                if value is None and field.name in self.optional:
                    continue
                if value is None or (pa.types.is_integer(field.type) and not hasattr(value, "__index__")):
                    raise UserError(f"row {i} of the {self.name}: {field.name} is {value}, it must be {field.type}")
        try:
            plain_rows = [plain(row, f"row {i} of the {self.name}") for i, row in enumerate(rows)]
            table = pa.Table.from_pylist(plain_rows, schema=self.schema)
        except (pa.ArrowException, OverflowError) as error:
            raise UserError(f"{self.name}: {one_line(error)}") from error
        with replacing(self.path(run)) as temporary:
            pq.write_table(table, temporary)

    def read(self, run: Path) -> list[dict[str, Any]]:
        """The rows; columns that the table lacks are None.

        Raises:
            UserError: the file is missing or damaged, or has other columns; names it.
        """
        path, expected = self.path(run), f"a Parquet file with the columns {', '.join(self.schema.names)}"
        data = read(path, expected)
        try:
            table = pq.ParquetFile(pa.BufferReader(data)).read()
        except (pa.ArrowException, OSError) as error:  # damage within the file is an OSError to pyarrow
            raise UserError(f"{path}: {one_line(error)}; expected {expected}") from error
        lacking = self.optional - set(table.column_names)
        wanted = pa.schema([field for field in self.schema if field.name not in lacking])
        if not table.schema.equals(wanted):
            raise UserError(f"{path}: has {one_line(table.schema)}; expected {one_line(self.schema)}")
        empty = dict.fromkeys(lacking)
        return [row | empty for row in table.to_pylist()]
