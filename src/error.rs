//! The one error of Lakegate: a SQLSTATE, PostgreSQL's fields and, where the text has one, a position.
//!
//! Every fault that a client can see is an [`Error`]. Faults of libraries become one here and nowhere else, so that a
//! SQLSTATE is decided in one place. `XX000` means a bug of ours and is logged with its source.

mod store;

use std::fmt;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! sql_states {
    ($($name:ident = $code:literal,)*) => {
        /// The SQLSTATEs that Lakegate answers with, named after PostgreSQL's condition names (appendix A of its manual).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SqlState { $($name,)* }

        impl SqlState {
            /// The five characters that go over the wire.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

sql_states! {
    Warning = "01000",
    SuccessfulCompletion = "00000",
    ConnectionException = "08000",
    ConnectionFailure = "08006",
    ProtocolViolation = "08P01",
    FeatureNotSupported = "0A000",
    InvalidLocatorSpecification = "0F001",
    InvalidGrantor = "0L000",
    CardinalityViolation = "21000",
    DataException = "22000",
    StringDataRightTruncation = "22001",
    NumericValueOutOfRange = "22003",
    NullValueNotAllowed = "22004",
    InvalidDatetimeFormat = "22007",
    DatetimeFieldOverflow = "22008",
    InvalidTimeZoneDisplacementValue = "22009",
    SubstringError = "22011",
    DivisionByZero = "22012",
    IntervalFieldOverflow = "22015",
    InvalidEscapeCharacter = "22019",
    CharacterNotInRepertoire = "22021",
    InvalidParameterValue = "22023",
    InvalidEscapeSequence = "22025",
    InvalidRowCountInLimitClause = "2201W",
    InvalidRowCountInResultOffsetClause = "2201X",
    InvalidRegularExpression = "2201B",
    InvalidArgumentForLogarithm = "2201E",
    InvalidPrecedingOrFollowingSize = "22013",
    InvalidArgumentForNtileFunction = "22014",
    InvalidArgumentForNthValueFunction = "22016",
    InvalidArgumentForPowerFunction = "2201F",
    InvalidArgumentForWidthBucketFunction = "2201G",
    ArraySubscriptError = "2202E",
    FloatingPointException = "22P01",
    InvalidTextRepresentation = "22P02",
    InvalidBinaryRepresentation = "22P03",
    BadCopyFileFormat = "22P04",
    UntranslatableCharacter = "22P05",
    IntegrityConstraintViolation = "23000",
    NotNullViolation = "23502",
    UniqueViolation = "23505",
    CheckViolation = "23514",
    InvalidCursorState = "24000",
    InvalidTransactionState = "25000",
    ActiveSqlTransaction = "25001",
    ReadOnlySqlTransaction = "25006",
    NoActiveSqlTransaction = "25P01",
    InFailedSqlTransaction = "25P02",
    IdleInTransactionSessionTimeout = "25P03",
    TransactionTimeout = "25P04",
    InvalidSqlStatementName = "26000",
    InvalidAuthorizationSpecification = "28000",
    InvalidPassword = "28P01",
    DependentObjectsStillExist = "2BP01",
    InvalidTransactionTermination = "2D000",
    InvalidSavepointSpecification = "3B001",
    InvalidCursorName = "34000",
    InvalidCatalogName = "3D000",
    InvalidSchemaName = "3F000",
    SerializationFailure = "40001",
    SyntaxErrorOrAccessRuleViolation = "42000",
    InsufficientPrivilege = "42501",
    SyntaxError = "42601",
    InvalidName = "42602",
    InvalidColumnDefinition = "42611",
    NameTooLong = "42622",
    DuplicateColumn = "42701",
    AmbiguousColumn = "42702",
    UndefinedColumn = "42703",
    GeneratedAlways = "428C9",
    UndefinedObject = "42704",
    DuplicateObject = "42710",
    DuplicateAlias = "42712",
    DuplicateFunction = "42723",
    AmbiguousFunction = "42725",
    GroupingError = "42803",
    DatatypeMismatch = "42804",
    WrongObjectType = "42809",
    InvalidForeignKey = "42830",
    CannotCoerce = "42846",
    UndefinedFunction = "42883",
    ReservedName = "42939",
    UndefinedTable = "42P01",
    UndefinedParameter = "42P02",
    DuplicateCursor = "42P03",
    DuplicateDatabase = "42P04",
    DuplicatePreparedStatement = "42P05",
    DuplicateSchema = "42P06",
    DuplicateTable = "42P07",
    AmbiguousParameter = "42P08",
    AmbiguousAlias = "42P09",
    InvalidColumnReference = "42P10",
    InvalidCursorDefinition = "42P11",
    InvalidRecursion = "42P19",
    WindowingError = "42P20",
    InvalidSchemaDefinition = "42P15",
    InvalidTableDefinition = "42P16",
    InvalidObjectDefinition = "42P17",
    IndeterminateDatatype = "42P18",
    IndeterminateCollation = "42P22",
    InsufficientResources = "53000",
    DiskFull = "53100",
    OutOfMemory = "53200",
    TooManyConnections = "53300",
    ConfigurationLimitExceeded = "53400",
    ProgramLimitExceeded = "54000",
    StatementTooComplex = "54001",
    TooManyColumns = "54011",
    ObjectNotInPrerequisiteState = "55000",
    ObjectInUse = "55006",
    CantChangeRuntimeParam = "55P02",
    QueryCanceled = "57014",
    AdminShutdown = "57P01",
    CannotConnectNow = "57P03",
    IdleSessionTimeout = "57P05",
    SystemError = "58000",
    IoError = "58030",
    UndefinedFile = "58P01",
    DuplicateFile = "58P02",
    ConfigFileError = "F0000",
    InternalError = "XX000",
    DataCorrupted = "XX001",
}

/// How the client is told: an ERROR ends the statement, a FATAL ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Fatal,
    Warning,
    Notice,
    Info,
    Log,
    Debug,
}

impl Severity {
    /// PostgreSQL's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Log => "LOG",
            Self::Debug => "DEBUG",
        }
    }
}

/// An error (or, by its severity, a notice) with the fields of PostgreSQL's ErrorResponse.
#[derive(Clone)]
pub struct Error(Box<Fields>);

#[derive(Clone)]
struct Fields {
    severity: Severity,
    sqlstate: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<u32>,
    context: Option<String>,
    schema: Option<String>,
    table: Option<String>,
    column: Option<String>,
    constraint: Option<String>,
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An ERROR. The message is lower case, without a full stop, with double quotes round names.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            severity: Severity::Error,
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
            source: None,
        }))
    }

    /// What is not supported: 0A000 with the clause's name.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(SqlState::FeatureNotSupported, format!("{what} is not supported"))
    }

    /// A bug of ours: XX000.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlState::InternalError, message)
    }

    /// A notice or warning to be sent beside a statement's answer.
    pub fn notice(severity: Severity, sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self::new(sqlstate, message).severity(severity)
    }

    /// The same error that ends the connection.
    pub fn fatal(self) -> Self {
        self.severity(Severity::Fatal)
    }

    fn severity(mut self, severity: Severity) -> Self {
        self.0.severity = severity;
        self
    }

    /// Sets the DETAIL line: whole sentences, with a full stop.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Sets the HINT line: what to do, a whole sentence.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets the CONTEXT line, e.g. `COPY t, line 3, column a: "x"`.
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// Sets the position: characters from the start of the query text, from 1. An earlier position is kept.
    pub fn at(mut self, position: impl Into<Option<u32>>) -> Self {
        self.0.position = self.0.position.or(position.into());
        self
    }

    /// Takes the position away: for a text that the client did not write.
    pub fn without_position(mut self) -> Self {
        self.0.position = None;
        self
    }

    /// Moves the position by the characters that stand before this statement in the client's text.
    pub fn shifted(mut self, characters: u32) -> Self {
        self.0.position = self.0.position.map(|position| position + characters);
        self
    }

    /// Names the table (schema and name) that the error is about.
    pub fn with_table(mut self, schema: impl Into<String>, table: impl Into<String>) -> Self {
        self.0.schema = Some(schema.into());
        self.0.table = Some(table.into());
        self
    }

    /// Names the column that the error is about.
    pub fn with_column(mut self, column: impl Into<String>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    /// Names the constraint that the error is about.
    pub fn with_constraint(mut self, constraint: impl Into<String>) -> Self {
        self.0.constraint = Some(constraint.into());
        self
    }

    /// Keeps the library's error for the log.
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(std::sync::Arc::new(source));
        self
    }

    pub fn sqlstate(&self) -> SqlState {
        self.0.sqlstate
    }
    pub fn level(&self) -> Severity {
        self.0.severity
    }
    pub fn message(&self) -> &str {
        &self.0.message
    }
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    pub fn position(&self) -> Option<u32> {
        self.0.position
    }
    pub fn context(&self) -> Option<&str> {
        self.0.context.as_deref()
    }
    pub fn schema(&self) -> Option<&str> {
        self.0.schema.as_deref()
    }
    pub fn table(&self) -> Option<&str> {
        self.0.table.as_deref()
    }
    pub fn column(&self) -> Option<&str> {
        self.0.column.as_deref()
    }
    pub fn constraint(&self) -> Option<&str> {
        self.0.constraint.as_deref()
    }

    /// Wraps it so that it can travel through DataFusion's streams and come back whole.
    pub fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.sqlstate.code())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.severity.as_str(), self.0.sqlstate.code(), self.0.message)?;
        if let Some(detail) = &self.0.detail {
            write!(f, "; detail: {detail}")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, "; source: {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// Looks for an [`Error`] of ours anywhere in a chain of sources.
fn own_error(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(own) = current.downcast_ref::<Error>() {
            return Some(own.clone());
        }
        if let Some(DataFusionError::External(inner)) = current.downcast_ref::<DataFusionError>()
            && let Some(own) = own_error(inner.as_ref())
        {
            return Some(own);
        }
        if let Some(shared) = current.downcast_ref::<std::sync::Arc<DataFusionError>>()
            && let Some(own) = own_error(shared.as_ref())
        {
            return Some(own);
        }
        next = current.source();
    }
    None
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        if let Some(own) = own_error(&error) {
            return own;
        }
        match error {
            DataFusionError::Context(_, inner) => Self::from(*inner),
            DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::Shared(inner) => Self::from_shared(&inner),
            DataFusionError::ArrowError(inner, _) => Self::from(*inner),
            DataFusionError::ParquetError(inner) => Self::from(*inner),
            DataFusionError::ObjectStore(inner) => Self::from(*inner),
            DataFusionError::IoError(inner) => Self::from(inner),
            DataFusionError::ResourcesExhausted(message) => out_of_memory(message),
            DataFusionError::NotImplemented(message) => Self::new(SqlState::FeatureNotSupported, first_line(&message)),
            DataFusionError::SchemaError(inner, _) => schema_error(*inner),
            DataFusionError::Plan(message) => {
                Self::new(SqlState::SyntaxErrorOrAccessRuleViolation, first_line(&message))
            }
            DataFusionError::Execution(message) => execution_error(message),
            DataFusionError::External(inner) => Self::internal(first_line(&inner.to_string())),
            other => Self::internal(first_line(&other.to_string())).with_source(other),
        }
    }
}

impl Error {
    fn from_shared(error: &DataFusionError) -> Self {
        match error {
            DataFusionError::Context(_, inner) => Self::from_shared(inner),
            DataFusionError::Diagnostic(_, inner) => Self::from_shared(inner),
            DataFusionError::Shared(inner) => Self::from_shared(inner),
            DataFusionError::ArrowError(inner, _) => arrow_error(&inner.to_string()),
            DataFusionError::ResourcesExhausted(message) => out_of_memory(message.clone()),
            DataFusionError::NotImplemented(message) => Self::new(SqlState::FeatureNotSupported, first_line(message)),
            DataFusionError::Execution(message) => execution_error(message.clone()),
            DataFusionError::ObjectStore(inner) => store::told(inner),
            other => Self::internal(first_line(&other.to_string())),
        }
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn out_of_memory(message: String) -> Error {
    Error::new(SqlState::OutOfMemory, "out of memory")
        .with_detail(first_line(&message))
        .with_hint("Raise memory.pool_bytes, or let the statement read fewer rows.")
}

fn schema_error(error: SchemaError) -> Error {
    match error {
        SchemaError::AmbiguousReference { field } => {
            Error::new(SqlState::AmbiguousColumn, format!("column reference \"{}\" is ambiguous", field.name()))
        }
        SchemaError::FieldNotFound { field, .. } => {
            Error::new(SqlState::UndefinedColumn, format!("column \"{}\" does not exist", field.name()))
        }
        other @ (SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. }) => {
            Error::internal(other.to_string())
        }
    }
}

/// DataFusion's and Arrow's kernels give only text for arithmetic faults; these are the words they use.
fn arrow_error(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        Error::new(SqlState::DivisionByZero, "division by zero")
    } else if lower.contains("cannot cast to decimal") && lower.contains("overflow") {
        Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
    } else if lower.contains("overflow") || lower.contains("out of range") || lower.contains("too large to store") {
        Error::new(SqlState::NumericValueOutOfRange, first_line(message))
    } else if lower.contains("cast error") || lower.contains("cannot cast") || lower.contains("parser error") {
        Error::new(SqlState::InvalidTextRepresentation, first_line(message))
    } else {
        Error::internal(first_line(message))
    }
}

fn execution_error(message: String) -> Error {
    let lower = message.to_ascii_lowercase();
    if lower.contains("more than one row") || lower.contains("returned more than") {
        return Error::new(
            SqlState::CardinalityViolation,
            "more than one row returned by a subquery used as an expression",
        );
    }
    let mapped = arrow_error(&message);
    if mapped.sqlstate() == SqlState::InternalError {
        return Error::new(SqlState::DataException, first_line(&message));
    }
    mapped
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError;
        if let Some(own) = own_error(&error) {
            return own;
        }
        match error {
            ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => Self::from(*inner),
                Err(inner) => Self::internal(first_line(&inner.to_string())),
            },
            ArrowError::DivideByZero => Self::new(SqlState::DivisionByZero, "division by zero"),
            ArrowError::ArithmeticOverflow(message) => Self::new(SqlState::NumericValueOutOfRange, message),
            ArrowError::MemoryError(message) => out_of_memory(message),
            other => arrow_error(&other.to_string()),
        }
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        if let Some(own) = own_error(&error) {
            return own;
        }
        // A store that fails under a reader or writer says nothing about the file.
        let corrupted = |text: String| Self::new(SqlState::DataCorrupted, first_line(&text));
        match error {
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<object_store::Error>() {
                Ok(store) => Self::from(*store),
                Err(inner) => match inner.downcast::<std::io::Error>() {
                    Ok(io) => Self::from(*io),
                    Err(inner) => corrupted(inner.to_string()),
                },
            },
            other => corrupted(other.to_string()).with_source(other),
        }
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        store::told(&error).with_source(error)
    }
}

/// Whether there is no room: on the disk, in a quota, below the limit of a file's size.
fn is_full(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(kind, StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether that stands anywhere in the chain.
fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && is_full(io.kind())
        {
            return true;
        }
        next = current.source();
    }
    false
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        if let Some(own) = own_error(&error) {
            return own;
        }
        // A store's error comes in another one's clothes.
        if is_disk_full(&error) {
            let text = first_line(&error.to_string());
            return Self::new(SqlState::DiskFull, "no space left on the device").with_detail(text).with_source(error);
        }
        let state = match error.kind() {
            std::io::ErrorKind::NotFound => SqlState::UndefinedFile,
            std::io::ErrorKind::PermissionDenied => SqlState::InsufficientPrivilege,
            std::io::ErrorKind::AlreadyExists => SqlState::DuplicateFile,
            _ => SqlState::IoError,
        };
        Self::new(state, error.to_string()).with_source(error)
    }
}

impl From<deltalake::DeltaTableError> for Error {
    fn from(error: deltalake::DeltaTableError) -> Self {
        use deltalake::DeltaTableError;
        if let Some(own) = own_error(&error) {
            return own;
        }
        if is_disk_full(&error) {
            return Self::new(SqlState::DiskFull, "no space left on the device").with_source(error);
        }
        match error {
            DeltaTableError::ObjectStore { source } => Self::from(source),
            DeltaTableError::Io { source } => Self::from(source),
            DeltaTableError::Arrow { source } => Self::from(source),
            DeltaTableError::Parquet { source } => Self::from(source),
            DeltaTableError::Transaction { source } => {
                Self::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
                    .with_detail(first_line(&source.to_string()))
            }
            DeltaTableError::VersionAlreadyExists(version) => {
                Self::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
                    .with_detail(format!("Version {version} of the table was committed by another writer."))
            }
            other => Self::new(SqlState::SystemError, first_line(&other.to_string())).with_source(other),
        }
    }
}
