# SPDX-License-Identifier: MIT
"""Reads C just well enough to find its mutable objects of static storage. Not a parser: it knows
the declarations that STYLE.md lets us write."""
import re


def blank(match):
    """The matched text with everything but line ends replaced by spaces."""
    return re.sub(r"[^\n]", " ", match[0])


def without_comments(text):
    """The text with comments blanked; strings stay."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')',
                  lambda m: m[1] if m[1] else blank(m), text, flags=re.DOTALL)


def bare(text):
    """Comments, strings' insides and preprocessor lines blanked: braces then pair up."""
    text = without_comments(text)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                  lambda m: m[0][0] + " " * (len(m[0]) - 2) + m[0][0], text)
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", blank, text, flags=re.MULTILINE)


def file_scope(text):
    """Yields (offset, declaration, body): each declaration of file scope with its initialiser or
    function body cut out; body is that of a function, with its offset, or None."""
    start = position = depth = 0
    opened = 0
    kept = ""  # the declaration so far
    while position < len(text):
        character = text[position]
        if character == "{":
            if depth == 0:
                opened = position
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                if kept.rstrip().endswith(")") and "=" not in kept:
                    yield start, kept, (opened, text[opened:position + 1])
                    kept, start = "", position + 1
                else:
                    kept += "{}"
        elif depth == 0:
            if character == ";":
                yield start, kept, None
                kept, start = "", position + 1
            else:
                kept += character
        position += 1


def mutable_name(declaration):
    """The name that a declaration makes a mutable object of, or None."""
    declaration = re.sub(r"__attribute__\s*\(\(.*?\)\)|_Alignas\s*\([^)]*\)", " ", declaration)
    declaration = " ".join(declaration.split())
    left = declaration.split("=")[0].strip()
    if not left or left.startswith(("typedef ", "_Static_assert", "static_assert")):
        return None
    if left.startswith("extern ") and "=" not in declaration:
        return None
    left = re.sub(r"^(?:(?:static|extern|_Thread_local|__thread|volatile|inline) )*", "", left)
    left = re.sub(r"^((?:const )?(?:struct|union|enum)(?: \w+)?) ?\{\}", r"\1", left)
    if re.fullmatch(r"(?:const )?(?:struct|union|enum)(?: \w+)?", left):
        return None
    pointer = re.match(r"[\w *]*\( ?\*([\w ]*?)(\w+)(?: ?\[[^\]]*\])* ?\) ?\(", left)
    if pointer:
        return None if "const" in pointer[1] else pointer[2]
    if "(" in left:
        return None  # a function, or a macro that makes one
    if re.search(r"\bconst\b", left.rsplit("*", 1)[-1]):
        return None
    name = re.search(r"(\w+)(?: ?\[[^\]]*\])* ?(?:,.*)?$", left)
    return name[1] if name else left


def mutable_objects(text):
    """Yields (line, name, declaration) for each mutable object of static storage in a C file."""
    text = bare(text)

    def line_of(offset, declaration=""):
        leading = len(declaration) - len(declaration.lstrip())
        return text.count("\n", 0, offset + leading) + 1

    for offset, declaration, body in file_scope(text):
        if body is None:
            name = mutable_name(declaration)
            if name:
                yield line_of(offset, declaration), name, declaration
        else:
            where, code = body
            for match in re.finditer(r"\b(?:static|_Thread_local|__thread)\b[^;{}]*", code):
                name = mutable_name(match[0])
                if name:
                    yield line_of(where + match.start()), name, match[0]
