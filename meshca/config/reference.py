"""The reference page of the configuration, made from the models: nothing in it is typed twice.

``python -m meshca.config.reference > docs/configuration.md``; a test says when the page is not current.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal, get_args, get_origin

import yaml
from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from meshca.config.fields import Declared, declared
from meshca.config.notation import duration_text, fraction_text
from meshca.config.overrides import PREFIX
from meshca.config.section import Section
from meshca.config.values import Notation

EXAMPLE = """\
trust_domain: example.org
root:
  certificate: /etc/meshca/root.pem
  key: /etc/meshca/root.key
leaf:
  lifetime: 12h
  max_lifetime: 24h
clusters:
  - name: Kubernetes              # the one that meshca runs in
  - name: west
    validate: jwks
    namespaces: ["west-*"]        # it can mint nothing else
    jwks:
      issuer: https://west.example.org
      file: /etc/meshca/west.jwks
policy:                           # the first that fits decides
  - deny: {namespace: sandbox}
  - allow: {cluster: west}
    max_lifetime: 1h
  - allow: {cluster: Kubernetes}
"""

_HEAD = f"""\
# Configuration

<!-- Made by `python -m meshca.config.reference`. Change the docstrings in meshca/config/, not this page. -->

`meshca serve` reads one YAML file, `--config FILE`, else `/etc/meshca/meshca.yaml`. It judges the file whole before it
starts: unknown names, values that do not fit, and contradictions are refused all at once, each with its path, its line,
what was seen and what to write. `meshca check config` does the same without starting, and with `--print` shows the
configuration in effect, passwords masked.

Only `trust_domain` has no default. A configuration of two clusters, with a root that the company already has:

```yaml
{EXAMPLE}```

- Settings count in this order: the default, the file, the environment, `--set`.
- `{PREFIX}LEAF__LIFETIME=20s` in the environment and `--set leaf.lifetime=20s` set `leaf.lifetime`. Items of lists
  go by their number: `{PREFIX}CLUSTERS__0__NAME`, `clusters.0.name`; a list that is not in the file begins as its
  default, and the number after the last one adds an item. The value is taken literally; in brackets or braces it is
  YAML. No other variable configures anything, and an unknown `{PREFIX}…` is refused.
- `null`, or nothing after the colon, means the default.
- A duration is whole numbers with units: `30d`, `24h`, `10m`, `20s`, `500ms`, `1h30m`. A fraction is `50%` or `0.5`.
  A size is bytes: `65536`, `64KiB`, `1MiB`.
- YAML's anchors, aliases and tags are not taken, and no name may stand twice.
"""


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([_HEAD, *_fields()]).rstrip() + "\n"


def _fields() -> Iterator[str]:
    alone = [one for one in declared() if len(one.path) == 1 and one.section is None]
    yield "## At the top\n"
    for one in alone:
        yield from _entry(one)
    for one in declared():
        if one.section is not None:
            yield from _heading(one)
        elif len(one.path) > 1:
            yield from _entry(one)


def _heading(one: Declared) -> Iterator[str]:
    assert one.section is not None
    level = "##" if len(one.path) == 1 else "###"
    yield f"{level} `{'.'.join(one.path)}`\n"
    said = " ".join(
        filter(None, [inspect.cleandoc(one.section.__doc__ or ""), docstrings(one.owner).get(one.attribute)])
    )
    yield f"{said}\n"
    default = one.owner.model_fields[one.attribute].default
    if one.is_list:
        items = [item.model_dump(mode="json", exclude_unset=True) for item in default]
        written = yaml.safe_dump({one.path[-1]: items}, sort_keys=False, default_flow_style=None, width=110)
        yield f"A list. Unless set:\n\n```yaml\n{written}```\n"
    elif default is None:
        yield "Not there unless set.\n"


def _entry(one: Declared) -> Iterator[str]:
    field = one.owner.model_fields[one.attribute]
    variable = PREFIX + "__".join(one.path).upper()
    yield f"#### `{'.'.join(one.path)}`\n"
    yield f"{type_text(one.hint)} · {_default(field)} · `{variable}`\n"
    yield f"{docstrings(one.owner)[one.attribute]}\n"


def docstrings(section: type[Section]) -> dict[str, str]:
    """The text under each field of a section, in one line. pydantic could keep them at run time, which costs memory
    in every worker."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            texts[statement.target.id] = " ".join(str(following.value.value).split())
    return texts


def type_text(hint: Any) -> str:
    """What may be written for a field of this type."""
    metadata = getattr(hint, "__metadata__", ())
    notations = [each.text for each in metadata if isinstance(each, Notation)]
    if notations:
        return notations[-1]
    if metadata:
        limits = {type(limit): limit for each in metadata for limit in getattr(each, "metadata", ())}
        bounds = f", {limits[Ge].ge} to {limits[Le].le}" if Ge in limits and Le in limits else ""
        return type_text(hint.__origin__) + bounds
    if get_origin(hint) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of: {type_text(get_args(hint)[0])}"
    if hint is int:
        return "whole number"
    inner = [each for each in get_args(hint) if each is not type(None)]
    if len(inner) == 1:
        return type_text(inner[0])
    raise TypeError(f"the reference has no words for {hint}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**must be set**"
    if field.default_factory is not None:
        return "default in the text"
    return f"default {_written(field.default)}" if field.default not in (None, ()) else "unset"


def _written(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"`{duration_text(value)}`"
    if isinstance(value, float):
        return f"`{fraction_text(value)}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(yaml.safe_dump(each).splitlines()[0] for each in value)}]`"
    return f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(page())
