//! What a setting is: its name, type, bounds, scope and description.

/// One setting that the server knows.
#[derive(Debug)]
pub struct Definition {
    /// As `pg_settings` and SHOW's column spell it; found in any case.
    pub name: &'static str,
    pub kind: Kind,
    pub scope: Scope,
    /// Whether a change is told to the client by ParameterStatus.
    pub reported: bool,
    pub category: &'static str,
    pub description: &'static str,
    /// The values that Lakegate can honour, where they are fewer than the type's; others are 0A000.
    pub honoured: Option<&'static [&'static str]>,
}

/// Type, default and bounds.
#[derive(Debug)]
pub enum Kind {
    Bool { default: bool },
    Int { default: i64, min: i64, max: i64, unit: Option<Unit> },
    Enum { default: &'static str, values: &'static [&'static str] },
    Text { default: &'static str, rule: TextRule },
}

/// What a text must be, and how it is made canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextRule {
    Any,
    /// Characters outside printable ASCII are written `\xnn`, as PostgreSQL does for `application_name`.
    Printable,
    DateStyle,
    TimeZone,
    ClientEncoding,
    SearchPath,
}

/// The unit that a number is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Kilobytes,
    Milliseconds,
    Seconds,
}

impl Unit {
    /// As `pg_settings.unit` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kilobytes => "kB",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
        }
    }

    /// The units that a value may be written in, largest first, each with its size in this unit.
    pub const fn accepted(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Kilobytes => {
                &[("TB", 1_073_741_824.0), ("GB", 1_048_576.0), ("MB", 1024.0), ("kB", 1.0), ("B", 1.0 / 1024.0)]
            }
            Self::Milliseconds => {
                &[("d", 86_400_000.0), ("h", 3_600_000.0), ("min", 60_000.0), ("s", 1000.0), ("ms", 1.0), ("us", 0.001)]
            }
            Self::Seconds => {
                &[("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 0.001), ("us", 0.000_001)]
            }
        }
    }

    /// PostgreSQL's hint about them.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Kilobytes => "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
            Self::Milliseconds | Self::Seconds => {
                "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\"."
            }
        }
    }
}

/// Who may change it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Never.
    Internal,
    /// When the server starts.
    Postmaster,
    /// When the configuration is read.
    Sighup,
    /// A superuser, in a session.
    Superuser,
    /// Anybody, in a session.
    User,
}

impl Scope {
    /// As `pg_settings.context` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Postmaster => "postmaster",
            Self::Sighup => "sighup",
            Self::Superuser => "superuser",
            Self::User => "user",
        }
    }
}

impl Definition {
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        scope: Scope,
        category: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, kind, scope, reported: false, category, description, honoured: None }
    }

    /// A change is told to the client.
    pub(super) const fn reported(mut self) -> Self {
        self.reported = true;
        self
    }

    /// Only these values do what they say here.
    pub(super) const fn honours(mut self, values: &'static [&'static str]) -> Self {
        self.honoured = Some(values);
        self
    }

    /// As `pg_settings.vartype` has it.
    pub const fn vartype(&self) -> &'static str {
        match self.kind {
            Kind::Bool { .. } => "bool",
            Kind::Int { .. } => "integer",
            Kind::Enum { .. } => "enum",
            Kind::Text { .. } => "string",
        }
    }
}
