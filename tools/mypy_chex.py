"""Mypy plugin: a `chex.dataclass` is a keyword-only dataclass with a `replace` method.

Chex has no `dataclass_transform` marker, so mypy would otherwise know neither the constructor nor `replace`.
"""

from collections.abc import Callable

from mypy.nodes import ARG_STAR2, Argument, DataclassTransformSpec, Var
from mypy.plugin import ClassDefContext, Plugin
from mypy.plugins.common import add_method_to_class, fill_typevars
from mypy.plugins.dataclasses import DataclassTransformer, dataclass_tag_callback
from mypy.types import AnyType, TypeOfAny

_KEYWORD_ONLY = DataclassTransformSpec(
    eq_default=True, kw_only_default=True, field_specifiers=("dataclasses.Field", "dataclasses.field")
)


def _is_chex_dataclass(decorator: str) -> bool:
    # Chex ships no types, so mypy names the decorator after the module that imports chex.
    return decorator.endswith("chex.dataclass")


class ChexPlugin(Plugin):
    """Hooks for class definitions decorated with `chex.dataclass`."""

    def get_class_decorator_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        return dataclass_tag_callback if _is_chex_dataclass(fullname) else None

    def get_class_decorator_hook_2(self, fullname: str) -> Callable[[ClassDefContext], bool] | None:
        return _make_dataclass if _is_chex_dataclass(fullname) else None


def _make_dataclass(context: ClassDefContext) -> bool:
    if "replace" not in context.cls.info.names:
        anything = AnyType(TypeOfAny.explicit)
        changes = Argument(Var("changes", anything), anything, None, ARG_STAR2)
        add_method_to_class(context.api, context.cls, "replace", [changes], fill_typevars(context.cls.info))
    return DataclassTransformer(context.cls, context.reason, _KEYWORD_ONLY, context.api).transform()


def plugin(version: str) -> type[Plugin]:
    return ChexPlugin
