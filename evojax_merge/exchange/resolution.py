"""Parameters of a file become the numbers of one tensor, and coefficients of its operator."""

import functools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from evojax_merge.documents.arguments import allowed, within
from evojax_merge.exchange.configuration import Configuration, Slice
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.inputs import Inputs
from evojax_merge.exchange.methods import REQUIRED, Parameter, Static
from evojax_merge.exchange.settings import Settings, Value, find
from evojax_merge.operators import Operator, conflicts

Coefficients = dict[str, float | tuple[float, ...]]
"""Coefficients by name, each a number or one for each source."""


class Numbers:
    """The resolver of the parameters of a file."""

    def __init__(self, configuration: Configuration) -> None:
        self.method = configuration.method
        self.scopes = configuration.scopes
        self.operator = functools.cache(
            lambda static, based: self.method.build(dict(static), 1.0, based)
        )
        self.warned: set[str] = set()

    def of(
        self,
        name: str,
        part: Slice,
        inputs: Inputs,
        tensors: Sequence[str],
        t: float,
        last: bool,
    ) -> tuple[Static, float, Coefficients]:
        """Return the arguments of the operator's factory, ``lam``, and the coefficients.

        Args:
            name: The name of the tensor in the result.
            part: The slice that the tensor belongs to.
            inputs: The inputs of the slice.
            tensors: The name of the tensor in each source.
            t: The place of the tensor's layer in the slice, from 0 to 1.
            last: Whether the tensor stands after all layers.

        Raises:
            ExchangeError: A parameter is missing, or the operator does not take a number.
        """
        outer = (part.parameters, *self.scopes)
        values: dict[str, Any] = {}
        for parameter in self.method.parameters:
            if parameter.shared:
                values[parameter.name] = self._value(parameter, outer, name, t, last, part.where)
            elif parameter.role == "coefficient":
                values[parameter.name] = tuple(
                    self._value(parameter, (entry.parameters, *outer), source, t, last, entry.where)
                    for entry, source in zip(
                        inputs.tuned, tensors[-len(inputs.tuned) :], strict=True
                    )
                )
        roles = {parameter.name: parameter.role for parameter in self.method.parameters}
        static = tuple((key, value) for key, value in values.items() if roles[key] == "static")
        try:
            operator = self.operator(static, inputs.base is not None)
        except ValueError as error:
            raise ExchangeError(f"{part.where}, for {name}: {error}") from None
        coefficients = {}
        for coefficient in operator.coefficients:
            value = values.get(coefficient.name, coefficient.default)
            if coefficient.per_source and not isinstance(value, tuple):
                value = (value,) * len(tensors)
            if not coefficient.per_source and isinstance(value, tuple):
                (value,) = value
            coefficients[coefficient.name] = value
        _check_numbers(operator, coefficients, name)
        negative = min(values.get("weight", (0.0,))) < 0
        if negative and self.method.elects and values["normalize"]:
            self._warn(
                "weight",
                f"{self.method.name} normalizes with a negative weight of {name}: by the sum of "
                "absolute values, where mergekit lets them cancel; the results differ",
            )
        return static, float(values.get("lambda", 1.0)), coefficients

    def _value(
        self,
        parameter: Parameter,
        scopes: Iterable[Settings],
        tensor: str,
        t: float,
        last: bool,
        where: str,
    ) -> Value:
        rule = find(scopes, parameter.name, tensor)
        if rule is None:
            if parameter.default is REQUIRED:
                raise ExchangeError(
                    f"{where}: {self.method.name} needs the parameter {parameter.name}, and none "
                    f"is given for {tensor}"
                )
            return parameter.default
        if last and len(set(rule.values)) > 1:
            self._warn(
                f"gradient of {parameter.name}",
                f"the gradient of {parameter.name} gives {tensor} its first value, "
                f"{rule.values[0]}, as in mergekit; a filter can give it another",
            )
        value = rule.at(t)
        if parameter.kind == "int" and value != int(value):
            raise ExchangeError(
                f"{where}: {parameter.name} is {value} for {tensor}: no whole number"
            )
        return int(value) if parameter.kind == "int" else value

    def _warn(self, about: str, message: str) -> None:
        """Warn once of each subject."""
        if about not in self.warned:
            self.warned.add(about)
            warnings.warn(message, stacklevel=2)


def _check_numbers(
    operator: Operator, coefficients: dict[str, float | tuple[float, ...]], tensor: str
) -> None:
    for coefficient in operator.coefficients:
        value = coefficients[coefficient.name]
        lower, upper = coefficient.domain
        for number in value if isinstance(value, tuple) else (value,):
            if not within(number, lower, upper):
                raise ExchangeError(
                    f"{coefficient.name} {number:g} of {operator.name} for {tensor} must be "
                    f"{allowed(lower, upper)}"
                )
    for _, problem in conflicts(operator, coefficients):
        raise ExchangeError(f"{operator.name} for {tensor}: {problem}")
