//! One scalar UDF for all our own functions: a plain `fn` over the arguments' arrays.
//!
//! Arguments are brought to one array type per family (text is `Utf8`, whatever came) once for each batch; a constant stays
//! one row long, and [`Column::get`] answers it for every row.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr as df;
use datafusion::logical_expr::expr::schema_name_from_exprs;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
};

use super::Volatility;
use crate::builtins::Context;
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};

/// Computes one batch.
pub type Run = fn(&Call) -> Result<ArrayRef>;

/// The Arrow type of a result.
#[derive(Clone)]
pub enum Returns {
    Fixed(DataType),
    /// From the arguments: for `numeric`, whose scale depends on them, and for polymorphic functions.
    Of(fn(&ReturnFieldArgs) -> Result<DataType>),
    /// This list, nested as deep as the argument is: casts of arrays keep their dimensions.
    Nested(DataType),
}

/// `list`, wrapped in as many lists as `argument` has beyond one.
fn nested(list: &DataType, argument: Option<&FieldRef>) -> DataType {
    let mut wrapped = list.clone();
    let mut level = argument.map(|field| field.data_type());
    while let Some(DataType::List(outer)) = level {
        level = Some(outer.data_type());
        if matches!(level, Some(DataType::List(_))) {
            wrapped = DataType::List(Arc::new(Field::new("item", wrapped, true)));
        }
    }
    wrapped
}

/// Gives up the row when a strict argument is NULL.
macro_rules! some {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}
pub(crate) use some;

/// A function as DataFusion runs it.
#[derive(Clone)]
pub struct Kernel {
    name: &'static str,
    oid: u32,
    signature: Signature,
    returns: Returns,
    run: Run,
    /// For casts: the type to make.
    target: PgType,
    context: Option<Arc<Context>>,
    /// The name of a call with large arguments.
    label: Option<Arc<str>>,
}

/// Functions of arrays and their elements: numerics among the arguments are brought to one scale first.
const OF_ELEMENTS: [&str; 11] = [
    "||",
    "@>",
    "<@",
    "&&",
    "array_append",
    "array_cat",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_replace",
];

/// The decimals of a type: its own, or those that its lists hold.
pub fn decimals(ty: &DataType) -> Option<(u8, i8)> {
    match ty {
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        DataType::List(field) => decimals(field.data_type()),
        _ => None,
    }
}

/// The decimal type that holds the values of all of these, when they differ.
pub fn common_decimal<'t>(types: impl Iterator<Item = &'t DataType>) -> Option<DataType> {
    let found: Vec<(u8, i8)> = types.filter_map(decimals).collect();
    let first = found.first()?;
    if found.iter().all(|other| other == first) {
        return None;
    }
    let (precision, scale) = holding(&found)?;
    Some(DataType::Decimal128(precision.min(super::numeric::DIGITS_MAX), scale))
}

/// The type that holds the values of all these decimals where one of 128 bits does not.
pub fn longer_decimal<'t>(types: impl Iterator<Item = &'t DataType>) -> Option<DataType> {
    let found: Vec<(u8, i8)> = types.filter_map(decimals).collect();
    let (precision, scale) = holding(&found)?;
    (precision > super::numeric::DIGITS_MAX).then_some(DataType::Decimal256(precision, scale))
}

/// Precision and scale for all of these.
fn holding(decimals: &[(u8, i8)]) -> Option<(u8, i8)> {
    let scale = decimals.iter().map(|(_, scale)| *scale).max()?;
    let whole = decimals.iter().map(|(precision, scale)| i16::from(*precision) - i16::from(*scale)).max()?;
    Some(((whole + i16::from(scale)).max(1) as u8, scale))
}

/// The type with those decimals in place of its own.
pub fn with_decimal(ty: &DataType, decimal: &DataType) -> DataType {
    match ty {
        DataType::Decimal128(..) => decimal.clone(),
        DataType::List(field) => {
            let item = with_decimal(field.data_type(), decimal);
            DataType::List(Arc::new(Field::new(field.name(), item, field.is_nullable())))
        }
        other => other.clone(),
    }
}

/// Calls with more arguments below them than this get a short name: the engine writes names anew at each level whenever it
/// asks for a type, which takes cubic time in the depth.
const NAMED_NODES_MAX: usize = 64;

fn is_large(arguments: &[Expr]) -> bool {
    let mut nodes = 0;
    arguments.iter().any(|argument| {
        let visited = argument.apply(|_| {
            nodes += 1;
            Ok(if nodes > NAMED_NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        nodes > NAMED_NODES_MAX || visited.is_err()
    })
}

/// The same for equal calls, and for no others.
fn label(name: &str, arguments: &[Expr]) -> Arc<str> {
    let mut hasher = std::hash::DefaultHasher::new();
    arguments.hash(&mut hasher);
    format!("{name}#{:016x}", hasher.finish()).into()
}

impl Kernel {
    /// `oid` tells kernels of the same name apart.
    pub fn new(name: &'static str, oid: u32, volatility: Volatility, returns: Returns, run: Run) -> Self {
        let volatility = match volatility {
            Volatility::Immutable => df::Volatility::Immutable,
            Volatility::Stable => df::Volatility::Stable,
            Volatility::Volatile => df::Volatility::Volatile,
        };
        let signature = Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], volatility);
        Self { name, oid, signature, returns, run, target: PgType::UNKNOWN, context: None, label: None }
    }

    /// Gives the kernel the statement's context.
    pub fn with_context(mut self, context: &Arc<Context>) -> Self {
        self.context = Some(context.clone());
        self
    }

    /// Says what a cast makes.
    pub fn with_target(mut self, target: PgType) -> Self {
        self.target = target;
        self
    }

    pub fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }

    /// The call as an expression; a call of constants alone is computed now, so that its error has a position.
    pub fn call(mut self, arguments: Vec<Expr>) -> Result<Expr> {
        if is_large(&arguments) {
            self.label = Some(label(self.name, &arguments));
        }
        let foldable = self.signature.volatility != df::Volatility::Volatile;
        call(self.udf(), arguments, foldable)
    }
}

/// The call as an expression, computed when all arguments are constants and `foldable` says that it may be.
pub fn call(udf: Arc<ScalarUDF>, arguments: Vec<Expr>, foldable: bool) -> Result<Expr> {
    let constants: Option<Vec<&ScalarValue>> = arguments
        .iter()
        .map(|argument| match argument {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        })
        .collect();
    match constants {
        // A call that fails stays a call: in a branch of CASE that is never taken its error is none, and an error at run time
        // has no position.
        Some(constants) if foldable => match evaluate(&udf, &constants) {
            Ok(value) => Ok(Expr::Literal(value, None)),
            Err(_) => Ok(udf.call(arguments)),
        },
        _ => Ok(udf.call(arguments)),
    }
}

/// Calls a scalar function on constants.
pub fn evaluate(udf: &ScalarUDF, constants: &[&ScalarValue]) -> Result<ScalarValue> {
    let arg_fields: Vec<FieldRef> =
        constants.iter().map(|value| Arc::new(Field::new("argument", value.data_type(), true))).collect();
    let scalar_arguments: Vec<Option<&ScalarValue>> = constants.iter().map(|value| Some(*value)).collect();
    let return_field =
        udf.return_field_from_args(ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &scalar_arguments })?;
    let args = constants.iter().map(|value| ColumnarValue::Scalar((*value).clone())).collect();
    let result = udf.invoke_with_args(ScalarFunctionArgs {
        args,
        arg_fields,
        number_rows: 1,
        return_field,
        config_options: Arc::new(ConfigOptions::default()),
    })?;
    match result {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => Ok(ScalarValue::try_from_array(&array, 0)?),
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.name, self.oid)
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.oid == other.oid
            && self.target == other.target
            && self.context.as_ref().map(Arc::as_ptr) == other.context.as_ref().map(Arc::as_ptr)
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name, self.oid, self.target).hash(state);
    }
}

impl ScalarUDFImpl for Kernel {
    fn name(&self) -> &str {
        self.name
    }

    fn schema_name(&self, arguments: &[Expr]) -> DataFusionResult<String> {
        match &self.label {
            Some(label) => Ok(label.to_string()),
            None => Ok(format!("{}({})", self.name, schema_name_from_exprs(arguments)?)),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        match &self.returns {
            Returns::Fixed(returns) => Ok(returns.clone()),
            Returns::Of(_) | Returns::Nested(_) => {
                let fields: Vec<FieldRef> =
                    arguments.iter().map(|ty| Arc::new(Field::new("argument", ty.clone(), true))).collect();
                let constants = vec![None; fields.len()];
                let field =
                    self.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &constants })?;
                Ok(field.data_type().clone())
            }
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let types = || args.arg_fields.iter().map(|field| field.data_type());
        let decimal = if OF_ELEMENTS.contains(&self.name) { common_decimal(types()) } else { None };
        let returns = match &self.returns {
            Returns::Fixed(returns) => returns.clone(),
            Returns::Of(returns) if let Some(decimal) = &decimal => {
                let alike = |ty| Arc::new(Field::new("argument", with_decimal(ty, decimal), true));
                let fields: Vec<FieldRef> = types().map(alike).collect();
                returns(&ReturnFieldArgs { arg_fields: &fields, ..args }).map_err(Error::into_datafusion)?
            }
            Returns::Of(returns) => returns(&args).map_err(Error::into_datafusion)?,
            Returns::Nested(list) => nested(list, args.arg_fields.first()),
        };
        Ok(Arc::new(Field::new(self.name, returns, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)))
            && (self.signature.volatility != df::Volatility::Volatile || args.number_rows == 1);
        let mut arguments: Vec<(ArrayRef, bool)> = args.args.iter().map(argument).collect::<DataFusionResult<_>>()?;
        if OF_ELEMENTS.contains(&self.name)
            && let Some(decimal) = common_decimal(arguments.iter().map(|(array, _)| array.data_type()))
        {
            for (array, _) in &mut arguments {
                *array = crate::encode::cast(array, &with_decimal(array.data_type(), &decimal))?;
            }
        }
        let call = Call {
            rows: if constant { 1 } else { args.number_rows },
            returns: args.return_field.data_type(),
            target: self.target,
            name: self.name,
            oid: self.oid,
            context: self.context.as_ref(),
            arguments,
        };
        let array = (self.run)(&call).map_err(Error::into_datafusion)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

fn argument(value: &ColumnarValue) -> DataFusionResult<(ArrayRef, bool)> {
    match value {
        ColumnarValue::Array(array) => Ok((array.clone(), false)),
        ColumnarValue::Scalar(scalar) => Ok((scalar.to_array()?, true)),
    }
}

/// The arguments of one batch.
pub struct Call<'a> {
    pub rows: usize,
    pub returns: &'a DataType,
    pub target: PgType,
    pub name: &'static str,
    pub oid: u32,
    context: Option<&'a Arc<Context>>,
    /// Array, and whether it is one constant.
    arguments: Vec<(ArrayRef, bool)>,
}

/// One argument: an array with a row for each row of the batch, or one constant.
pub struct Column<A> {
    pub array: A,
    /// 0 for a constant.
    stride: usize,
}

impl<A: Array> Column<A> {
    /// The value of a row; `None` is NULL.
    #[inline]
    pub fn get<'a>(&'a self, row: usize) -> Option<<&'a A as ArrayAccessor>::Item>
    where
        &'a A: ArrayAccessor,
    {
        let at = row * self.stride;
        if self.array.is_null(at) { None } else { Some((&self.array).value(at)) }
    }

    /// The value when it is the same for every row.
    pub fn constant<'a>(&'a self) -> Option<<&'a A as ArrayAccessor>::Item>
    where
        &'a A: ArrayAccessor,
    {
        if self.stride == 0 { self.get(0) } else { None }
    }

    pub fn is_constant(&self) -> bool {
        self.stride == 0
    }
}

impl Call<'_> {
    /// How many arguments the call has.
    pub fn len(&self) -> usize {
        self.arguments.len()
    }

    pub fn is_empty(&self) -> bool {
        self.arguments.is_empty()
    }

    /// The statement's context; every contextual kernel has one.
    pub fn context(&self) -> Result<&Arc<Context>> {
        self.context.ok_or_else(|| Error::internal("function called without its context"))
    }

    /// The statement's context, when the kernel was given one.
    pub fn context_if_any(&self) -> Option<&Arc<Context>> {
        self.context
    }

    /// The argument as it came, a constant being one row long.
    pub fn raw(&self, index: usize) -> Result<&ArrayRef> {
        self.arguments.get(index).map(|(array, _)| array).ok_or_else(|| Error::internal("function argument missing"))
    }

    pub fn is_constant(&self, index: usize) -> bool {
        self.arguments.get(index).is_some_and(|(_, constant)| *constant)
    }

    /// The row of argument `index`'s raw array that belongs to a row of the batch.
    pub fn row_of(&self, index: usize, row: usize) -> usize {
        if self.is_constant(index) { 0 } else { row }
    }

    /// The argument with a row for each row of the batch.
    pub fn expanded(&self, index: usize) -> Result<ArrayRef> {
        let array = self.raw(index)?;
        if !self.is_constant(index) || self.rows == 1 {
            return Ok(array.clone());
        }
        Ok(ScalarValue::try_from_array(array, 0)?.to_array_of_size(self.rows)?)
    }

    /// The argument as an array of exactly that type.
    pub fn column<A: Array + Clone + 'static>(&self, index: usize, ty: &DataType) -> Result<Column<A>> {
        let array = self.raw(index)?;
        let array = if array.data_type() == ty { array.clone() } else { crate::encode::cast(array, ty)? };
        let array = array
            .as_any()
            .downcast_ref::<A>()
            .cloned()
            .ok_or_else(|| Error::internal(format!("argument {index} has the type {}", array.data_type())))?;
        Ok(Column { array, stride: usize::from(!self.is_constant(index)) })
    }

    pub fn text(&self, index: usize) -> Result<Column<StringArray>> {
        self.column(index, &DataType::Utf8)
    }
    pub fn bytes(&self, index: usize) -> Result<Column<BinaryArray>> {
        self.column(index, &DataType::Binary)
    }
    pub fn int(&self, index: usize) -> Result<Column<Int64Array>> {
        self.column(index, &DataType::Int64)
    }
    pub fn float(&self, index: usize) -> Result<Column<Float64Array>> {
        self.column(index, &DataType::Float64)
    }
    pub fn boolean(&self, index: usize) -> Result<Column<BooleanArray>> {
        self.column(index, &DataType::Boolean)
    }
    pub fn date(&self, index: usize) -> Result<Column<Date32Array>> {
        self.column(index, &DataType::Date32)
    }
    pub fn time(&self, index: usize) -> Result<Column<Time64MicrosecondArray>> {
        self.column(index, &DataType::Time64(TimeUnit::Microsecond))
    }
    pub fn interval(&self, index: usize) -> Result<Column<IntervalMonthDayNanoArray>> {
        self.column(index, &DataType::Interval(IntervalUnit::MonthDayNano))
    }
    /// A timestamp with or without time zone, in microseconds since 1970.
    pub fn timestamp(&self, index: usize) -> Result<Column<TimestampMicrosecondArray>> {
        let zone = match self.raw(index)?.data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        self.column(index, &DataType::Timestamp(TimeUnit::Microsecond, zone))
    }
    /// A numeric and its scale.
    pub fn decimal(&self, index: usize) -> Result<(Column<Decimal128Array>, i8)> {
        let ty = match self.raw(index)?.data_type() {
            DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
            DataType::Null => DataType::Decimal128(38, 0),
            other => super::numeric::decimal_type(other),
        };
        let scale = super::numeric::scale_of(&ty);
        Ok((self.column(index, &ty)?, scale))
    }

    /// Writes one text for each row into the buffer it is given; `false` is NULL.
    pub fn texts(&self, mut write: impl FnMut(usize, &mut String) -> Result<Option<()>>) -> Result<ArrayRef> {
        let mut builder = StringBuilder::with_capacity(self.rows, self.rows * 16);
        let mut buffer = String::new();
        for row in 0..self.rows {
            buffer.clear();
            match write(row, &mut buffer)? {
                Some(()) => {
                    check_room(builder.values_slice().len(), buffer.len())?;
                    builder.append_value(&buffer);
                }
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// Writes bytes for each row, as [`Self::texts`] does.
    pub fn byte_strings(&self, mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<Option<()>>) -> Result<ArrayRef> {
        let mut builder = BinaryBuilder::with_capacity(self.rows, self.rows * 16);
        let mut buffer = Vec::new();
        for row in 0..self.rows {
            buffer.clear();
            match write(row, &mut buffer)? {
                Some(()) => {
                    check_room(builder.values_slice().len(), buffer.len())?;
                    builder.append_value(&buffer);
                }
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A slice of something for each row.
    pub fn slices<'s>(&self, mut slice: impl FnMut(usize) -> Result<Option<&'s str>>) -> Result<ArrayRef> {
        let mut builder = StringBuilder::with_capacity(self.rows, self.rows * 16);
        for row in 0..self.rows {
            let value = slice(row)?;
            check_room(builder.values_slice().len(), value.map_or(0, str::len))?;
            builder.append_option(value);
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A number (or date, timestamp, interval) for each row, in the result's type.
    pub fn values<T: ArrowPrimitiveType>(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<T::Native>>,
    ) -> Result<ArrayRef> {
        let mut builder = PrimitiveBuilder::<T>::with_capacity(self.rows);
        for row in 0..self.rows {
            builder.append_option(value(row)?);
        }
        let array = builder.finish();
        if PrimitiveArray::<T>::is_compatible(self.returns) {
            Ok(Arc::new(array.with_data_type(self.returns.clone())))
        } else {
            Ok(Arc::new(array))
        }
    }

    pub fn booleans(&self, mut value: impl FnMut(usize) -> Result<Option<bool>>) -> Result<ArrayRef> {
        let mut builder = BooleanBuilder::with_capacity(self.rows);
        for row in 0..self.rows {
            builder.append_option(value(row)?);
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A list of texts for each row, written by pushing to the builder it is given; `None` is NULL.
    pub fn text_lists(
        &self,
        mut write: impl FnMut(usize, &mut StringBuilder) -> Result<Option<()>>,
    ) -> Result<ArrayRef> {
        let field = Arc::new(Field::new("item", DataType::Utf8, true));
        let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field);
        for row in 0..self.rows {
            let present = write(row, builder.values())?.is_some();
            builder.append(present);
        }
        Ok(Arc::new(builder.finish()))
    }
}

/// Most bytes of the texts that a call makes for one batch of rows: Arrow's offsets end at twice as many, and no pool counts
/// them.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// 54000 when a batch of texts grows too large.
fn check_room(used: usize, more: usize) -> Result<()> {
    if used.saturating_add(more) <= BATCH_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(SqlState::ProgramLimitExceeded, "the results of a function are too large for one batch of rows")
        .with_hint("Take fewer rows at once, or make shorter values."))
}

/// An error of DataFusion's own code inside a kernel.
pub fn from_datafusion(error: DataFusionError) -> Error {
    Error::from(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_texts_is_bounded() {
        assert!(check_room(0, BATCH_BYTES_MAX).is_ok());
        assert_eq!(check_room(BATCH_BYTES_MAX, 1).unwrap_err().sqlstate(), SqlState::ProgramLimitExceeded);
        assert!(check_room(usize::MAX, 1).is_err());
    }
}
