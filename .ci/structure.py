#!/usr/bin/env python3
"""Checks the structure of the product crates; the gate runs it.

- No import circle between the files of a crate.
- No item in `server`'s `testing` module that no test and no other crate uses; rustc's `unreachable_pub` sees to the others.
- No function longer than 70 lines, its signature and comments included.
- The arrows between crates in `docs/ARCHITECTURE.md` are those of the manifests.

A file imports another when a path in it (`use` or inline, `crate::`, `self::` or `super::`) names an item of that file. A name
that a file only re-exports counts as the file where it is defined. Tests are left out.
"""

import collections
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PRODUCT = ["domain", "storage", "replica", "server", "cli", "client", "proto", "mcp-connect", "http-credential", "certificates", "text-io"]
FUNCTION_LINES_MAX = 70


def without_comments_and_strings(text):
    """Blanks comments, strings and characters, and keeps every line break."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\\n])\'', re.DOTALL
    )
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def without_tests(text):
    """Blanks the items that are compiled for tests alone."""
    found = re.search(r"#\[cfg\(test\)\]\s*(pub(\([^)]*\))?\s+)?(mod|impl|fn|use|struct|const)\b", text)
    while found:
        end = text.find(";", found.end())
        opening = text.find("{", found.end())
        if opening != -1 and (end == -1 or opening < end) and found.group(3) != "use":
            end = closing(text, opening)
        text = text[: found.start()] + re.sub(r"[^\n]", " ", text[found.start() : end + 1]) + text[end + 1 :]
        found = re.search(r"#\[cfg\(test\)\]\s*(pub(\([^)]*\))?\s+)?(mod|impl|fn|use|struct|const)\b", text)
    return text


def closing(text, opening):
    """The place of the brace that closes the one at `opening`."""
    depth = 0
    for place in range(opening, len(text)):
        if text[place] == "{":
            depth += 1
        elif text[place] == "}":
            depth -= 1
            if depth == 0:
                return place
    return len(text) - 1


def expand(tree, prefix=()):
    """The paths of a `use` tree, each with the name that it brings into scope."""
    tree = tree.strip()
    found = re.match(r"((?:\w+\s*::\s*)*)\{(.*)\}$", tree, re.DOTALL)
    if found:
        head = tuple(re.findall(r"\w+", found.group(1)))
        depth, begin = 0, 0
        body = found.group(2) + ","
        for place, character in enumerate(body):
            depth += (character == "{") - (character == "}")
            if character == "," and depth == 0:
                if body[begin:place].strip():
                    yield from expand(body[begin:place], prefix + head)
                begin = place + 1
        return
    path, _, alias = tree.partition(" as ")
    names = prefix + tuple(re.findall(r"\w+|\*", path))
    if names and names[-1] == "self":
        names = names[:-1]
    if names:
        yield names, (alias.strip() or names[-1])


class Crate:
    def __init__(self, folder):
        self.source = folder / "src"
        self.texts, self.raw = {}, {}
        for path in sorted(self.source.rglob("*.rs")):
            name = path.relative_to(self.source).with_suffix("").parts
            if "tests" in name or "bin" in name[:1]:
                continue
            name = () if name in (("lib",), ("main",)) else name
            self.raw[name] = path.read_text()
            self.texts[name] = self.texts.get(name, "") + without_tests(without_comments_and_strings(self.raw[name]))
        self.exports = {name: self.names_in_scope(name) for name in self.texts}

    def uses(self, module):
        for found in re.finditer(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", self.texts[module]):
            for path, alias in expand(found.group(2)):
                yield path, alias

    def names_in_scope(self, module):
        return {alias: path for path, alias in self.uses(module) if alias != "*"}

    def resolve(self, module, path, seen=()):
        """The file that defines what `path` names in `module`, or None for what is not of this crate."""
        head, rest = path[0], path[1:]
        if head == "crate":
            place = ()
        elif head == "self":
            place = module
        elif head == "super":
            place = module[:-1]
            while rest and rest[0] == "super":
                place, rest = place[:-1], rest[1:]
        elif module + (head,) in self.texts:
            place = module + (head,)
        elif head in self.exports.get(module, {}) and (module, head) not in seen:
            target = self.exports[module][head]
            if target[0] == head:
                return None
            return self.resolve(module, target + rest, seen + ((module, head),))
        else:
            return None
        while rest and place + (rest[0],) in self.texts:
            place, rest = place + (rest[0],), rest[1:]
        if rest and rest[0] != "*" and (place, rest[0]) not in seen:
            target = self.exports.get(place, {}).get(rest[0])
            if target:
                return self.resolve(place, target + rest[1:], seen + ((place, rest[0]),)) or place
        return place if place in self.texts else None

    def imports(self, module):
        paths = {path for path, _ in self.uses(module)}
        body = re.sub(r"\b(pub(?:\([^)]*\))?\s+)?use\s+[^;]+;", "", self.texts[module])
        for found in re.finditer(r"\b(?:crate|self|super)(?:\s*::\s*\w+)+", body):
            paths.add(tuple(re.findall(r"\w+", found.group())))
        # An index (modules and re-exports) names its parts without needing them.
        is_index = not re.search(r"\b(fn|struct|enum|impl|trait|static|macro_rules)\b", body)
        targets = {self.resolve(module, path) for path in paths}
        return set() if is_index else {target for target in targets if target is not None and target != module}


def circles(graph):
    """The strongly connected components of more than one file (Tarjan's algorithm)."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on_stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            part = []
            while True:
                part.append(stack.pop())
                on_stack.discard(part[-1])
                if part[-1] == node:
                    break
            if len(part) > 1:
                found.append(sorted(part))

    sys.setrecursionlimit(10_000)
    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def long_functions(crate):
    for module, raw in crate.raw.items():
        text = without_tests(without_comments_and_strings(raw))
        for found in re.finditer(r"^[ \t]*(?:pub(?:\([^)]*\))?\s+)?(?:const\s+|async\s+|unsafe\s+)*fn\s+(\w+)", text, re.MULTILINE):
            opening, end = text.find("{", found.end()), text.find(";", found.end())
            if opening == -1 or (end != -1 and end < opening):
                continue
            lines = text.count("\n", found.start(), closing(text, opening)) + 1
            if lines > FUNCTION_LINES_MAX:
                yield module, found.group(1), lines


def name_of(crate, module):
    return f"{crate}/{'/'.join(module) or 'lib'}.rs"


def unused_exports(crate, others):
    """Names that `testing.rs` exports, and that nothing outside the crate uses."""
    for found in re.finditer(r"pub use\s+([^;]+);", crate.texts.get(("testing",), "")):
        for path, name in expand(found.group(1)):
            if name == "*" or not any(re.search(rf"\b{name}\b", other) for other in others):
                yield name


def arrows_of_map():
    """The crates that `docs/ARCHITECTURE.md` names, each with those that it says the crate uses."""
    block = (ROOT / "docs/ARCHITECTURE.md").read_text().split("```")[1]
    lines = [line.rsplit("->", 1) for line in block.splitlines() if "->" in line]
    return {left.split()[0]: set(re.findall(r"[a-z-]+", right)) for left, right in lines}


def arrows_of_manifests():
    found = {}
    for manifest in [*ROOT.glob("crates/*/Cargo.toml"), ROOT / "migrations/Cargo.toml"]:
        dependencies = tomllib.loads(manifest.read_text()).get("dependencies", {})
        prefix = "key-authority-"
        found[manifest.parent.name] = {name[len(prefix) :] for name in dependencies if name.startswith(prefix)}
    return found


def rooms_of_map():
    """The modules of `server` that `docs/ARCHITECTURE.md` lists, each with those that it says the module uses."""
    text = (ROOT / "docs/ARCHITECTURE.md").read_text().split("## Modules of `server`")[1].split("\n\n")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    found, below = {}, {name for owner, _, _ in rows for name in re.findall(r"`(\w+)`", owner)}
    for owner, _, uses in rows:
        names = re.findall(r"`(\w+)`", owner)
        below -= set(names)
        for name in names:
            found[name] = set(below) if uses == "all modules below" else set(re.findall(r"`(\w+)`", uses))
    return found


def rooms_of_server(graph):
    found = {}
    for module, targets in graph.items():
        if module and module[0] not in ("main", "testing"):
            rooms = {target[0] for target in targets if target and target[0] != module[0]}
            found.setdefault(module[0], set()).update(rooms)
    return found


def main():
    failures = []
    drawn, real = arrows_of_map(), arrows_of_manifests()
    for crate in sorted(drawn.keys() | real.keys()):
        if drawn.get(crate) != real.get(crate):
            failures.append(f"docs/ARCHITECTURE.md: {crate} -> {drawn.get(crate)}, but its manifest has {real.get(crate)}")
    for folder in PRODUCT:
        if not (ROOT / "crates" / folder / "src").is_dir():
            continue
        crate = Crate(ROOT / "crates" / folder)
        graph = {module: crate.imports(module) for module in crate.texts}
        for circle in circles(graph):
            members = set(circle)
            failures.append("import circle: " + ", ".join(name_of(folder, module) for module in circle))
            for module in circle:
                targets = ", ".join(name_of(folder, target) for target in sorted(graph[module] & members))
                failures.append(f"    {name_of(folder, module)} -> {targets}")
        for module, function, lines in long_functions(crate):
            failures.append(f"{name_of(folder, module)}: fn {function} has {lines} lines, more than {FUNCTION_LINES_MAX}")
        if folder == "server":
            drawn, real = rooms_of_map(), rooms_of_server(graph)
            for room in sorted(drawn.keys() | real.keys()):
                if drawn.get(room, set()) != real.get(room, set()):
                    uses = ", ".join(sorted(real.get(room, set())))
                    failures.append(f"docs/ARCHITECTURE.md: {room} uses {uses or 'nothing'}; the table has it otherwise")
            outside = [path for path in ROOT.glob("crates/*/**/*.rs") if "crates/server/src" not in str(path)]
            for name in unused_exports(crate, [path.read_text() for path in outside]):
                failures.append(f"server/testing.rs: {name} is used by no test and no other crate")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
