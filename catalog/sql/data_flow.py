"""Which columns a query reads, and which of them each column of its result is made of. Pure.

Where the text leaves two answers, both count: too much is followed rather than too little. Values are followed, and
conditions only so far as they bind one column to another (`n = salary` makes `n` a salary); a count tells no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import expressions as exp

from catalog.sql.query import find_tables, output_name
from catalog.sql.scope import NOTHING, Origin, Origins, Relation, Scope, join

ROUNDS = 10  # for what refers to itself; origins only grow, and soon stop growing


@dataclass(frozen=True)
class Flow:
    """What a query does with the columns of the tables that it reads."""

    outputs: tuple[tuple[str | None, Origins], ...]  # each column of the result: its name, where the text has it
    touched: Origins  # every column that the query looks at

    def of(self, column: str) -> Origins:
        """What a column of the result is made of."""
        named = [origins for name, origins in self.outputs if name == column]
        return join(named or [origins for name, origins in self.outputs if name is None] or [self.touched])


def trace_query(tree: exp.Query, columns: Mapping[str, Sequence[str]]) -> Flow:
    """What the query makes of its tables. `columns`: what each of them has, by `TableRead.read`."""
    tracer = Tracer(tree, columns)
    outputs = tracer.query(tree, Scope({}, {}))
    return Flow(tuple(outputs.columns), frozenset(tracer.touched))


class Tracer:
    """Walks a query once, from the outside in."""

    def __init__(self, tree: exp.Query, columns: Mapping[str, Sequence[str]]) -> None:
        self.reads = {id(table.node): table.read for table in find_tables(tree)}
        self.columns = columns
        self.touched: set[Origin] = set()

    def query(self, node: exp.Expr, around: Scope) -> Relation:
        """What a query gives."""
        scope = Scope({}, self.define(node, around), around)
        match node:
            case exp.SetOperation():
                return self.unite(node, scope)
            case exp.Subquery() | exp.Paren():
                return self.query(node.this, scope)
            case exp.Values():
                return self.list_values(node, scope)
            case exp.Select():
                return self.select(node, scope)
        return Relation([], self.value(node, scope))

    def define(self, node: exp.Expr, around: Scope) -> Mapping[str, Relation]:
        """What is defined by the WITH of a query, and around it."""
        defined = dict(around.defined)
        given = node.args.get("with_")
        for cte in given.expressions if given else []:
            recursive = bool(given and given.args.get("recursive"))
            found = self.begin(cte, Scope({}, defined, around)) if recursive else Relation([])
            for _ in range(ROUNDS if recursive else 1):
                before = found.columns
                known = {**defined, cte.alias: found} if recursive else defined
                found = name_columns(self.query(cte.this, Scope({}, known, around)), cte)
                if found.columns == before:
                    break
            defined[cte.alias] = found
        return defined

    def begin(self, cte: exp.CTE, scope: Scope) -> Relation:
        """What a recursive query begins with: the first part of its union."""
        first = cte.this.this if isinstance(cte.this, exp.SetOperation) else cte.this
        return name_columns(self.query(first, scope), cte)

    def unite(self, node: exp.SetOperation, scope: Scope) -> Relation:
        """The columns of a union, each made of those in its place."""
        left, right = self.query(node.this, scope), self.query(node.expression, scope)
        self.conditions(node, scope, [name for name, _ in left.columns])
        if len(left.columns) != len(right.columns):
            return Relation([(name, left.whole() | right.whole()) for name, _ in left.columns], right.whole())
        pairs = zip(left.columns, right.columns, strict=True)
        return Relation([(name, mine | other) for (name, mine), (_, other) in pairs], left.rest | right.rest)

    def list_values(self, node: exp.Values, scope: Scope) -> Relation:
        """The columns of VALUES."""
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
        places = zip(*rows, strict=False)
        return Relation(
            [(f"column{n}", join(self.value(value, scope) for value in place)) for n, place in enumerate(places, 1)]
        )

    def select(self, node: exp.Select, scope: Scope) -> Relation:
        """The columns of a SELECT."""
        source = node.args.get("from_")
        behind = [source.this] if source else []
        behind += [*(node.args.get("joins") or []), *(node.args.get("laterals") or [])]
        for part in behind:
            self.add(part, scope)
        names = [output_name(part) for part in node.selects]
        self.conditions(node, scope, names)
        for part in behind:
            if isinstance(part, exp.Join):
                self.conditions(part, scope, [])
        found = Relation([])
        for part, name in zip(node.selects, names, strict=True):
            if part.is_star:
                table = part.table if isinstance(part, exp.Column) else None
                for known, relation in scope.tables.items():
                    if not table or table == known:
                        found.columns += [
                            (name, origins | relation.bound.get(name or "", NOTHING))
                            for name, origins in relation.columns
                        ]
                        found.columns += [(None, relation.rest)] if relation.rest else []
                self.touched |= join(origins for _, origins in found.columns)
            else:
                found.columns.append((name, self.value(part, scope)))
        return found

    def add(self, node: exp.Expr, scope: Scope) -> None:
        """Registers an item of FROM by its name."""
        if isinstance(node, exp.Join):
            self.add(node.this, scope)
            return
        if isinstance(node, exp.Paren):
            self.add(node.this, scope)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table):
            self.add(node.this, scope)  # brackets around joined tables
        else:
            name = node.alias or (node.name if isinstance(node, exp.Table) else "")
            scope.tables[name or f" {len(scope.tables)}"] = name_columns(self.source(node, scope), node)
        for more in (*(node.args.get("joins") or []), *(node.args.get("laterals") or [])):
            self.add(more, scope)
            self.conditions(more, scope, [])

    def source(self, node: exp.Expr, scope: Scope) -> Relation:
        """What a table, a query in brackets or a function gives."""
        if isinstance(node, exp.Lateral):
            return self.source(node.this, scope)
        if isinstance(node, exp.Subquery):
            return self.query(node.this, scope)
        if isinstance(node, exp.Table) and id(node) in self.reads:
            read = self.reads[id(node)]
            return Relation([(column, frozenset([(read, column)])) for column in self.columns.get(read, ())])
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            return scope.defined.get(node.name, Relation([]))
        inner = node.this if isinstance(node, exp.Table) else node
        return Relation([], join(self.value(part, scope) for part in inner.iter_expressions()))

    def conditions(self, node: exp.Expr, scope: Scope, outputs: Sequence[str | None]) -> None:
        """Looks at what decides on rows and on their order, and binds the columns that one comparison holds."""
        parts = [node.args[name] for name in ("where", "having", "on") if node.args.get(name)]
        parts = [part.this if isinstance(part, exp.Having | exp.Where) else part for part in parts]
        compared = [leaf for part in parts for leaf in split(part)]
        for _ in range(3):  # a = b and b = c binds a to c
            for leaf in compared:
                self.bind(leaf, scope)
        for name in find_shared(node, scope):
            self.bind(exp.column(name), scope)
        for name in ("group", "order", "limit", "offset", "distinct", "windows"):
            given = node.args.get(name)
            for part in given if isinstance(given, list) else [given]:
                if isinstance(part, exp.Expr):
                    self.look(part, scope, outputs, ordered=name == "order")

    def look(self, node: exp.Expr, scope: Scope, outputs: Sequence[str | None], *, ordered: bool) -> None:
        """Notes the columns of a part that is no value.

        ORDER BY takes a name for one of the result's first, GROUP BY for one of a table's.
        """
        for column in node.find_all(exp.Column):
            known = any(table.find(column.name) is not None for table in scope.tables.values())
            if column.table or column.name not in outputs or (known and not ordered):
                self.value(column, scope)
        for query in node.find_all(exp.Query):
            self.query(query, scope)

    def bind(self, leaf: exp.Expr, scope: Scope) -> None:
        """Each column of a comparison may replace any other of it."""
        together = self.value(leaf, scope)
        for column in leaf.find_all(exp.Column):
            for place in scope.all():
                for name, relation in place.tables.items():
                    if column.table in {"", name} and any(column.name == known for known, _ in relation.columns):
                        relation.bound[column.name] = relation.bound.get(column.name, NOTHING) | together
            for name, relation in scope.tables.items():
                if column.table in {"", name} and (relation.rest or not relation.columns):
                    relation.rest |= together

    def value(self, node: exp.Expr, scope: Scope) -> Origins:
        """What a value is made of."""
        match node:
            case exp.Column():
                found = self.column(node, scope)
                self.touched |= found
                return found
            case exp.Exists():
                before, self.touched = self.touched, set()
                self.query(node.this, scope)
                seen, self.touched = frozenset(self.touched), before | self.touched
                return seen
            case exp.Query():
                return self.query(node, scope).whole()
        found = join(self.value(part, scope) for part in node.iter_expressions())
        return NOTHING if is_count(node) else found

    def column(self, node: exp.Column, scope: Scope) -> Origins:
        """What a column is made of; where nothing has its name it may be a row, or anything."""
        table, name = node.table, node.name
        for place in scope.all():
            if table and table in place.tables:
                relation = place.tables[table]
                found = None if node.is_star else relation.find(name)
                return relation.whole() if found is None else found
            if not table:
                exact = [found for relation in place.tables.values() if (found := relation.find(name)) is not None]
                if name in place.tables:
                    exact.append(place.tables[name].whole())
                if exact:
                    return join(exact)
        every = [relation for place in scope.all() for relation in place.tables.values()]
        rests = [relation.rest for relation in every if relation.rest]
        return join(rests) if rests and not table else join(relation.whole() for relation in every)


def find_shared(node: exp.Expr, scope: Scope) -> list[str]:
    """The columns by which a join with USING, or a NATURAL one, brings tables together."""
    if node.args.get("method") == "NATURAL":
        names = [name for table in scope.tables.values() for name, _ in table.columns if name]
        return [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return [column.name for column in node.args.get("using") or []]


def split(condition: exp.Expr) -> Iterator[exp.Expr]:
    """The comparisons that a condition is made of."""
    if isinstance(condition, exp.And | exp.Or | exp.Not | exp.Paren):
        for part in condition.iter_expressions():
            yield from split(part)
    else:
        yield condition


def is_count(node: exp.Expr) -> bool:
    """Whether a value only counts."""
    while isinstance(node, exp.Filter | exp.Window):
        node = node.this
    return isinstance(node, exp.Anonymous) and str(node.name).lower() in {"count", "regr_count"}


def name_columns(relation: Relation, node: exp.Expr) -> Relation:
    """A relation with the names after its alias: `AS t (a, b)`."""
    names = [str(name.name) for name in node.args["alias"].columns] if node.args.get("alias") else []
    return relation.rename(names) if names else relation
