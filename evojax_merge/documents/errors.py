"""The error of a file that somebody wrote, and how messages show what it holds."""


class DocumentError(ValueError):
    """A file, or the text in it, cannot be read. Whoever reads it says which file it is."""


def shown(value: object, width: int = 60) -> str:
    """What somebody wrote as a message shows it: escaped, and cut to about ``width`` characters."""
    if isinstance(value, str | bytes):
        text = repr(value[: width + 1])  # of a long text, only what may be seen is escaped
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * width:
        return f"a number of {value.bit_length()} bits"
    elif isinstance(value, dict | list | tuple) and len(value) > width:
        return f"a {type(value).__name__} of {len(value)} entries"
    else:
        text = repr(value)
    return text if len(text) <= width else f"{text[:width]}…"


def named(name: object) -> str:
    """The name of a key or a tensor as it is where it can be printed on a line, else escaped."""
    plain = isinstance(name, str) and name.isprintable() and 0 < len(name) <= 100
    return str(name) if plain else shown(name)
