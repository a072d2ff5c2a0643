"""The symbols that a user watches, in a file of this user's, a name a line."""

from pathlib import Path


class Watched:
    """The marked symbols; where the file cannot be used they are kept in memory, and `fault` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.symbols: frozenset[str] = frozenset()
        self.fault = ""
        try:
            self.symbols = frozenset(path.read_text(encoding="utf-8").split())
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as exc:
            self.fault = f"Marks are not kept: {path} cannot be read ({exc})."

    def toggle(self, symbol: str) -> None:
        """Mark a symbol, or take its mark away."""
        self.symbols ^= {symbol}
        if self.fault:
            return
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_text("".join(f"{name}\n" for name in sorted(self.symbols)), encoding="utf-8")
            new.replace(self._path)
        except OSError as exc:
            self.fault = f"Marks are not kept: {self._path} cannot be written ({exc.strerror})."
