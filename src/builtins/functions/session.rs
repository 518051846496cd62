//! Functions of the session and the server.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::build::{contextual, in_context, volatile_in_context};
use super::kernel::{Call, some};
use super::{Body, Function, Volatility};
use crate::builtins::Context;
use crate::encode::types::oid;
use crate::error::{Error, Result};

/// What clients parse: PostgreSQL's version whose behaviour this server shows, and who is behind it.
fn version(context: &Arc<Context>, _: Vec<Expr>) -> Result<Expr> {
    let postgresql = context.session.setting("server_version")?;
    let number = postgresql.split(' ').next().unwrap_or_default();
    let (machine, own) = (std::env::consts::ARCH, env!("CARGO_PKG_VERSION"));
    text(format!("PostgreSQL {number} on {machine}-pc-linux-gnu, compiled by rustc, 64-bit (Lakegate {own})"))
}

fn text(value: impl Into<String>) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::Utf8(Some(value.into())), None))
}

fn optional_text(value: Option<String>) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::Utf8(value), None))
}

fn moment(at: chrono::DateTime<chrono::Utc>) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into())), None))
}

/// The schema that new objects go into: the first of the search path that is no system schema's stand-in.
fn current_schema(context: &Context) -> Option<String> {
    let mut schemas = context.search_path.iter().filter(|schema| context.temporary.as_ref() != Some(*schema));
    schemas.find(|schema| *schema != "pg_catalog").cloned()
}

fn schemas(call: &Call) -> Result<ArrayRef> {
    let context = call.context()?.clone();
    let implicit = call.boolean(0)?;
    call.text_lists(|row, items| {
        let with_implicit = some!(implicit.get(row));
        let is_implicit = |schema: &String| {
            context.catalog_implicit && schema == "pg_catalog" || context.temporary.as_ref() == Some(schema)
        };
        for schema in context.search_path.iter().filter(|schema| with_implicit || !is_implicit(schema)) {
            items.append_value(schema);
        }
        Ok(Some(()))
    })
}

fn setting(call: &Call) -> Result<ArrayRef> {
    let context = call.context()?.clone();
    let names = call.text(0)?;
    let missing_ok = if call.len() > 1 { Some(call.boolean(1)?) } else { None };
    call.texts(|row, out| {
        let name = some!(names.get(row));
        match context.session.setting(name) {
            Ok(value) => out.push_str(&value),
            Err(error) => {
                let tolerated = missing_ok.as_ref().and_then(|flags| flags.get(row)).unwrap_or(false);
                return if tolerated { Ok(None) } else { Err(error) };
            }
        }
        Ok(Some(()))
    })
}

fn set_config(call: &Call) -> Result<ArrayRef> {
    let context = call.context()?.clone();
    let (names, values, locals) = (call.text(0)?, call.text(1)?, call.boolean(2)?);
    call.texts(|row, out| {
        let (name, value) = (some!(names.get(row)), values.get(row).unwrap_or_default());
        let local = locals.get(row).unwrap_or(false);
        out.push_str(&context.session.set_setting(name, value, local)?);
        Ok(Some(()))
    })
}

fn cancel(call: &Call) -> Result<ArrayRef> {
    let (context, pids) = (call.context()?.clone(), call.int(0)?);
    call.booleans(|row| {
        let pid = some!(pids.get(row));
        context.session.cancel_backend(i32::try_from(pid).unwrap_or(0)).map(Some)
    })
}

fn terminate(call: &Call) -> Result<ArrayRef> {
    let (context, pids) = (call.context()?.clone(), call.int(0)?);
    call.booleans(|row| {
        let pid = some!(pids.get(row));
        context.session.terminate_backend(i32::try_from(pid).unwrap_or(0)).map(Some)
    })
}

fn constant_of(value: ScalarValue) -> Result<Expr> {
    Ok(Expr::Literal(value, None))
}

/// `pg_sleep`: waits on the runtime's timer; dropping the query ends the wait.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    signature: Signature,
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        "pg_sleep"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }
    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(Error::internal("pg_sleep must be awaited").into_datafusion())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let seconds = match args.args.first() {
            Some(value) => value.clone().into_array(rows)?,
            None => return Err(Error::internal("pg_sleep without seconds").into_datafusion()),
        };
        let seconds = crate::encode::cast(&seconds, &DataType::Float64)?;
        let total: f64 = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&seconds)
            .iter()
            .flatten()
            .filter(|seconds| *seconds > 0.0)
            .sum();
        // A sleep longer than a century is as good as for ever.
        tokio::time::sleep(std::time::Duration::from_secs_f64(total.min(3.2e9))).await;
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(vec![""; rows]))))
    }
}

fn sleep() -> Function {
    let signature = Signature::any(1, datafusion::logical_expr::Volatility::Volatile);
    let udf: ScalarUDF = AsyncScalarUDF::new(Arc::new(Sleep { signature })).into_scalar_udf();
    Function {
        oid: 2626,
        name: "pg_sleep",
        arguments: vec![oid::FLOAT8],
        variadic: false,
        defaults: 0,
        returns: oid::VOID,
        returns_set: false,
        volatility: Volatility::Volatile,
        strict: true,
        body: Body::Scalar(Arc::new(udf)),
    }
}

fn no_address(context: &Context, client: bool) -> Option<std::net::SocketAddr> {
    if client { context.client_address } else { context.server_address }
}

pub(super) fn functions() -> Vec<Function> {
    let user: fn(&Arc<Context>, Vec<Expr>) -> Result<Expr> = |context, _| text(context.user.clone());
    let database: fn(&Arc<Context>, Vec<Expr>) -> Result<Expr> = |context, _| text(context.database.clone());
    vec![
        contextual(89, "version() text", version),
        contextual(861, "current_database() name", database),
        contextual(9006, "current_catalog() name", database),
        contextual(745, "current_user() name", user),
        contextual(9007, "current_role() name", user),
        contextual(9008, "user() name", user),
        contextual(746, "session_user() name", |context, _| text(context.session_user.clone())),
        contextual(1402, "current_schema() name", |context, _| optional_text(current_schema(context))),
        in_context(1403, "current_schemas(bool) _name", schemas),
        in_context(2077, "current_setting(text) text", setting),
        in_context(3294, "current_setting(text, bool) text", setting),
        volatile_in_context(2078, "set_config(text, text, bool) text", set_config),
        volatile_in_context(2171, "pg_cancel_backend(int4) bool", cancel),
        volatile_in_context(2096, "pg_terminate_backend(int4) bool", terminate),
        contextual(2026, "pg_backend_pid() int4", |context, _| constant_of(ScalarValue::Int32(Some(context.pid)))),
        contextual(2560, "pg_postmaster_start_time() timestamptz", |context, _| moment(context.server_start)),
        contextual(2034, "pg_conf_load_time() timestamptz", |context, _| moment(context.server_start)),
        // No advisory lock can be taken, so none is held: poolers call it when they take a connection back.
        contextual(2892, "pg_advisory_unlock_all() void", |_, _| constant_of(ScalarValue::Utf8(Some(String::new())))),
        contextual(3810, "pg_is_in_recovery() bool", |_, _| constant_of(ScalarValue::Boolean(Some(false)))),
        contextual(810, "pg_client_encoding() name", |_, _| text("UTF8")),
        contextual(1039, "getdatabaseencoding() name", |_, _| text("UTF8")),
        contextual(2196, "inet_client_addr() text", |context, _| {
            optional_text(no_address(context, true).map(|address| address.ip().to_string()))
        }),
        contextual(2198, "inet_server_addr() text", |context, _| {
            optional_text(no_address(context, false).map(|address| address.ip().to_string()))
        }),
        contextual(2197, "inet_client_port() int4", |context, _| {
            constant_of(ScalarValue::Int32(no_address(context, true).map(|address| address.port().into())))
        }),
        contextual(2199, "inet_server_port() int4", |context, _| {
            constant_of(ScalarValue::Int32(no_address(context, false).map(|address| address.port().into())))
        }),
        sleep(),
    ]
}
