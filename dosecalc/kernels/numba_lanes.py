"""Eight numbers side by side, for compiled loops that are too short for the compiler to put into vector lanes.

Beams have some twenty beamlets in a row; of such loops numba's compiler makes scalar code. Here the lanes are stated: a
value of the type `Lanes` is one vector register of eight float32 (or two registers, as the processor has it). Nothing
is tested for its bounds: what is loaded and stored must lie inside the array, whose entries lie side by side.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

LANES = 8
"""Numbers in one value."""
_CONTRACT = ("contract",)


class Lanes(types.Type):
    """Numba's type of eight numbers."""

    def __init__(self, real: Any) -> None:
        self.real = real
        super().__init__(name=f"Lanes({real})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(_real(kind.real), LANES))


def _real(kind: Any) -> Any:
    return ir.FloatType() if kind == types.float32 else ir.DoubleType()


def _place(context: Any, builder: Any, kind: Any, given: Any, vector: Any) -> Any:
    """Pointer to eight entries of an array; given are the array and the index of the first."""
    data = context.make_array(kind)(context, builder, given[0]).data
    return builder.bitcast(builder.gep(data, [given[1]]), vector.as_pointer())


def _repeated(builder: Any, value: Any) -> Any:
    """A number in every lane."""
    nothing = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _counted(builder: Any, start: Any) -> Any:
    """start, start + 1, ..."""
    return builder.add(_repeated(builder, start), ir.Constant(ir.VectorType(start.type, LANES), list(range(LANES))))


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """array[index : index + 8]."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = signature.args[0]
        place = _place(context, builder, kind, given, context.get_value_type(signature.return_type))
        return builder.load(place, align=kind.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.uintp), build


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + 8] = value, rounded to the array's type if that is the narrower one."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind, numbers = signature.args[0], given[2]
        vector = ir.VectorType(_real(kind.dtype), LANES)
        if signature.args[2].real.bitwidth > kind.dtype.bitwidth:
            numbers = builder.fptrunc(numbers, vector)
        builder.store(numbers, _place(context, builder, kind, given, vector), align=kind.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.uintp, value), build


@intrinsic
def fetch_ahead(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of array[index], which may lie beyond its end."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        place, integer = builder.gep(data, [given[1]]), ir.IntType(32)
        taken = ir.FunctionType(ir.VoidType(), [place.type, integer, integer, integer])
        function = builder.module.declare_intrinsic("llvm.prefetch.p0", (), taken)
        read, near, data_cache = integer(0), integer(3), integer(1)
        builder.call(function, [place, read, near, data_cache])
        return context.get_dummy_value()

    return types.void(array, types.uintp), build


@intrinsic
def store_range(typing: Any, array: Any, index: Any, start: Any) -> Any:
    """array[index : index + 8] = start, start + 1, ... of an integer array."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind, numbers = signature.args[0], _counted(builder, given[2])
        builder.store(numbers, _place(context, builder, kind, given, numbers.type), align=kind.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.uintp, array.dtype), build


@intrinsic
def store_within(typing: Any, array: Any, index: Any, value: Any, first: Any, count: Any) -> Any:
    """array[index : index + 8] = value, but of lane l only where 0 <= first + l < count; elsewhere nothing is touched.

    The numbers are rounded to the array's type if that is the narrower one.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind, numbers = signature.args[0], given[2]
        vector = ir.VectorType(_real(kind.dtype), LANES)
        if signature.args[2].real.bitwidth > kind.dtype.bitwidth:
            numbers = builder.fptrunc(numbers, vector)
        return _masked_store(context, builder, kind, given, numbers)

    return types.void(array, types.uintp, value, types.int32, types.uint32), build


@intrinsic
def range_within(typing: Any, array: Any, index: Any, start: Any, first: Any, count: Any) -> Any:
    """The same of an integer array, with start, start + 1, ..."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _masked_store(context, builder, signature.args[0], given, _counted(builder, given[2]))

    return types.void(array, types.uintp, array.dtype, types.int32, types.uint32), build


def _masked_store(context: Any, builder: Any, kind: Any, given: Any, numbers: Any) -> Any:
    """LLVM's store of some lanes; given end with the number of the first lane and the count that numbers lie below."""
    integer, vector = ir.IntType(32), numbers.type
    place = _place(context, builder, kind, given, vector)
    lane = ir.Constant(ir.VectorType(integer, LANES), list(range(LANES)))
    # Below zero is far above as an unsigned number.
    mask = builder.icmp_unsigned("<", builder.add(lane, _repeated(builder, given[-2])), _repeated(builder, given[-1]))
    taken = [vector, place.type, integer, mask.type]
    name = f"llvm.masked.store.v{LANES}{vector.element.intrinsic_name}.p0"
    function = builder.module.declare_intrinsic(name, (), ir.FunctionType(ir.VoidType(), taken))
    builder.call(function, [numbers, place, integer(kind.dtype.bitwidth // 8), mask])
    return context.get_dummy_value()


@intrinsic
def all_are(typing: Any, array: Any, index: Any, number: Any) -> Any:
    """Whether array[index : index + 8] holds nothing but a number."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = signature.args[0]
        vector = ir.VectorType(_real(kind.dtype), LANES)
        place = _place(context, builder, kind, given, vector)
        found = builder.load(place, align=kind.dtype.bitwidth // 8)
        same = builder.bitcast(builder.fcmp_ordered("==", found, _repeated(builder, given[2])), ir.IntType(LANES))
        return builder.icmp_unsigned("==", same, ir.Constant(ir.IntType(LANES), (1 << LANES) - 1))

    return types.boolean(array, types.uintp, array.dtype), build


@intrinsic
def scaled(typing: Any, factor: Any, value: Any) -> Any:
    """factor * value, a number times eight."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fmul(_repeated(builder, given[0]), given[1])

    return value(value.real, value), build


@intrinsic
def add_scaled(typing: Any, total: Any, factor: Any, value: Any) -> Any:
    """total + factor * value, rounded once where the processor can."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        product = builder.fmul(_repeated(builder, given[1]), given[2], flags=_CONTRACT)
        return builder.fadd(given[0], product, flags=_CONTRACT)

    return total(total, total.real, total), build


@intrinsic
def plus(typing: Any, one: Any, other: Any) -> Any:
    """one + other, lane by lane."""
    return one(one, one), lambda context, builder, signature, given: builder.fadd(*given)


@intrinsic
def times(typing: Any, one: Any, other: Any) -> Any:
    """one * other, lane by lane."""
    return one(one, one), lambda context, builder, signature, given: builder.fmul(*given)


@intrinsic
def minus(typing: Any, one: Any, other: Any) -> Any:
    """one - other, lane by lane."""
    return one(one, one), lambda context, builder, signature, given: builder.fsub(*given)


@intrinsic
def from_lane(typing: Any, value: Any, first: Any) -> Any:
    """The numbers of lane `first` and those after it, zero in the lanes before."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        first = _repeated(builder, given[1])
        kept = builder.icmp_unsigned(">=", ir.Constant(first.type, list(range(LANES))), first)
        return builder.select(kept, given[0], ir.Constant(given[0].type, [0.0] * LANES))

    return value(value, types.uint32), build


@intrinsic
def total(typing: Any, value: Any) -> Any:
    """The sum of all lanes, by halves."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        summed, count = given[0], LANES
        while count > 1:
            count //= 2
            low, high = (
                ir.Constant(ir.VectorType(ir.IntType(32), count), [start + k for k in range(count)])
                for start in (0, count)
            )
            nothing = ir.Constant(summed.type, ir.Undefined)
            summed = builder.fadd(
                builder.shuffle_vector(summed, nothing, low), builder.shuffle_vector(summed, nothing, high)
            )
        return builder.extract_element(summed, ir.Constant(ir.IntType(32), 0))

    return value.real(value), build


@intrinsic
def lanes(typing: Any, number: Any) -> Any:
    """A number in every lane."""
    return Lanes(number)(number), lambda context, builder, signature, given: _repeated(builder, given[0])


@intrinsic
def times_plus(typing: Any, one: Any, other: Any, number: Any) -> Any:
    """one * other + number, eight numbers of each but the last, rounded once where the processor can."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        product = builder.fmul(given[0], given[1], flags=_CONTRACT)
        return builder.fadd(product, _repeated(builder, given[2]), flags=_CONTRACT)

    return one(one, one, one.real), build


@intrinsic
def size_to(typing: Any, value: Any, end: Any) -> Any:
    """|value|, and `end` where it is larger; NaN stays NaN."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        size, most = builder.call(_of_vector(builder, "fabs", given[0], 1), given[:1]), _repeated(builder, given[1])
        return builder.select(builder.fcmp_ordered(">", size, most), most, size)

    return value(value, value.real), build


@intrinsic
def with_sign(typing: Any, size: Any, value: Any) -> Any:
    """`size` with the sign of `value`, lane by lane."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.call(_of_vector(builder, "copysign", given[0], 2), given)

    return size(size, size), build


def _of_vector(builder: Any, name: str, like: Any, arguments: int) -> Any:
    """LLVM's function of that name of eight numbers."""
    full = f"llvm.{name}.v{LANES}{like.type.element.intrinsic_name}"
    return builder.module.declare_intrinsic(full, (), ir.FunctionType(like.type, [like.type] * arguments))
