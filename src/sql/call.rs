//! Function calls: arguments, the special syntax of EXTRACT and its kin, aggregates' clauses, windows.

use sqlparser::ast::{
    DateTimeField, DuplicateTreatment, Expr, ExtractSyntax, Function, FunctionArg, FunctionArgExpr,
    FunctionArgOperator, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    OrderByExpr, OrderByOptions, TrimWhereField, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec,
    WindowType,
};

use super::grammar::{Grammar, fold};
use super::token::{Kind, Token};
use crate::error::{Error, Result, SqlState};

/// A call with nothing but arguments.
pub(crate) fn function(name: ObjectName, args: Vec<FunctionArg>) -> Function {
    Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

pub(crate) fn positional(args: Vec<Expr>) -> Vec<FunctionArg> {
    args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect()
}

/// The argument behind VARIADIC: the tree has no form of its own for it, so it is an argument named `VARIADIC` with the
/// operator `Colon`, which PostgreSQL's syntax never gives.
pub fn variadic_argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), operator: FunctionArgOperator::Colon, .. } => Some(expr),
        _ => None,
    }
}

impl Grammar<'_> {
    /// The rest of a call; the cursor is at the opening parenthesis.
    pub fn call(&mut self, name: Vec<Ident>, first: &Token) -> Result<Expr> {
        if let ([_], Kind::Word(_)) = (name.as_slice(), &first.kind)
            && let Some(special) = self.special_call(first)?
        {
            return Ok(special);
        }
        let mut call = function(ObjectName::from(name), Vec::new());
        call.args = FunctionArguments::List(self.arguments()?);
        self.aggregate_clauses(&mut call)?;
        Ok(Expr::Function(call))
    }

    /// `( [ALL | DISTINCT] arguments [ORDER BY …] )`.
    pub fn arguments(&mut self) -> Result<FunctionArgumentList> {
        let mut list = FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() };
        self.open()?;
        if self.is_operator("*") {
            self.advance();
            list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
        } else if !self.is_operator(")") {
            list.duplicate_treatment = match self.one_of(&["distinct", "all"]) {
                Some("distinct") => Some(DuplicateTreatment::Distinct),
                Some(_) => Some(DuplicateTreatment::All),
                None => None,
            };
            list.args = self.list(Self::argument)?;
            if self.is("order") {
                list.clauses.push(FunctionArgumentClause::OrderBy(self.order_by_list()?));
            }
        }
        self.close()?;
        Ok(list)
    }

    pub fn argument(&mut self) -> Result<FunctionArg> {
        let token = self.token();
        if self.accept("variadic") {
            let arg = FunctionArgExpr::Expr(self.expression()?);
            return Ok(FunctionArg::Named { name: self.ident_of(token), arg, operator: FunctionArgOperator::Colon });
        }
        for (text, operator) in [("=>", FunctionArgOperator::RightArrow), (":=", FunctionArgOperator::Assignment)] {
            if self.is_operator_ahead(1, text) {
                let name = self.function_or_type_name()?;
                self.advance();
                return Ok(FunctionArg::Named { name, arg: FunctionArgExpr::Expr(self.expression()?), operator });
            }
        }
        if let Some(name) = self.wildcard_name()? {
            return Ok(FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)));
        }
        if let Some(argument) = self.model_or_table_argument()? {
            return Ok(argument);
        }
        Ok(FunctionArg::Unnamed(FunctionArgExpr::Expr(self.expression()?)))
    }

    /// `t.*` or `s.t.*`, if that comes next.
    pub fn wildcard_name(&mut self) -> Result<Option<ObjectName>> {
        let mut count = 0;
        while matches!(self.ahead(count).kind, Kind::Word(_) | Kind::Quoted) && self.is_operator_ahead(count + 1, ".") {
            count += 2;
        }
        if count == 0 || !self.is_operator_ahead(count, "*") || !self.is_column_name() {
            return Ok(None);
        }
        let mut parts = vec![self.column_name()?];
        while !self.is_operator_ahead(1, "*") {
            self.advance();
            parts.push(self.label()?);
        }
        self.advance();
        self.advance();
        Ok(Some(ObjectName::from(parts)))
    }

    fn aggregate_clauses(&mut self, call: &mut Function) -> Result<()> {
        if self.accept("within") {
            self.expect("group")?;
            self.open()?;
            call.within_group = self.order_by_list()?;
            self.close()?;
        }
        if self.is("filter") && self.is_operator_ahead(1, "(") {
            self.accept("filter");
            self.open()?;
            self.expect("where")?;
            call.filter = Some(Box::new(self.expression()?));
            self.close()?;
        }
        if self.accept("over") {
            call.over = Some(if self.is_operator("(") {
                WindowType::WindowSpec(self.window()?)
            } else {
                WindowType::NamedWindow(self.column_name()?)
            });
        }
        Ok(())
    }

    /// `ORDER BY item, …`.
    pub fn order_by_list(&mut self) -> Result<Vec<OrderByExpr>> {
        self.expect_all(&["order", "by"])?;
        self.list(Self::order_item)
    }

    fn order_item(&mut self) -> Result<OrderByExpr> {
        let expr = self.expression()?;
        let asc = if self.accept("using") {
            Some(self.ordering_operator()?)
        } else {
            self.one_of(&["asc", "desc"]).map(|word| word == "asc")
        };
        let mut nulls_first = None;
        if self.accept("nulls") {
            nulls_first = match self.one_of(&["first", "last"]) {
                Some(word) => Some(word == "first"),
                None => return self.syntax(),
            };
        }
        Ok(OrderByExpr { expr, options: OrderByOptions { asc, nulls_first }, with_fill: None })
    }

    /// `USING <` is ASC, `USING >` is DESC; no other operator orders.
    fn ordering_operator(&mut self) -> Result<bool> {
        let token = self.token();
        match token.value.as_str() {
            "<" if self.accept_operator("<") => Ok(true),
            ">" if self.accept_operator(">") => Ok(false),
            _ if matches!(token.kind, Kind::Operator) => {
                let message = format!("operator {} is not a valid ordering operator", token.value);
                let hint = "Ordering operators must be \"<\" or \">\" members of btree operator families.";
                Err(Error::new(SqlState::WrongObjectType, message).with_hint(hint).at(token.position))
            }
            _ => self.syntax(),
        }
    }

    /// `( [name] [PARTITION BY …] [ORDER BY …] [frame] )`.
    pub fn window(&mut self) -> Result<WindowSpec> {
        let mut window =
            WindowSpec { window_name: None, partition_by: Vec::new(), order_by: Vec::new(), window_frame: None };
        self.open()?;
        if self.is_column_name() && !self.is_any(&["partition", "rows", "range", "groups"]) {
            window.window_name = Some(self.column_name()?);
        }
        if self.accept("partition") {
            self.expect("by")?;
            window.partition_by = self.expression_list()?;
        }
        if self.is("order") {
            window.order_by = self.order_by_list()?;
        }
        let units = match self.one_of(&["rows", "range", "groups"]) {
            Some("rows") => Some(WindowFrameUnits::Rows),
            Some("range") => Some(WindowFrameUnits::Range),
            Some(_) => Some(WindowFrameUnits::Groups),
            None => None,
        };
        if let Some(units) = units {
            window.window_frame = Some(self.frame(units)?);
        }
        self.close()?;
        Ok(window)
    }

    fn frame(&mut self, units: WindowFrameUnits) -> Result<WindowFrame> {
        let (start_bound, end_bound) = if self.accept("between") {
            let start = self.frame_bound()?;
            self.expect("and")?;
            (start, Some(self.frame_bound()?))
        } else {
            (self.frame_bound()?, None)
        };
        let exclude = self.token();
        if self.accept("exclude") && !self.take(&["no", "others"]) {
            return match self.token().value.as_str() {
                "current" | "group" | "ties" => Err(self.unsupported_at("EXCLUDE of a window frame", exclude)),
                _ => self.syntax(),
            };
        }
        Ok(WindowFrame { units, start_bound, end_bound })
    }

    fn frame_bound(&mut self) -> Result<WindowFrameBound> {
        if self.take(&["current", "row"]) {
            return Ok(WindowFrameBound::CurrentRow);
        }
        let distance = if self.accept("unbounded") { None } else { Some(Box::new(self.expression()?)) };
        match self.one_of(&["preceding", "following"]) {
            Some("preceding") => Ok(WindowFrameBound::Preceding(distance)),
            Some(_) => Ok(WindowFrameBound::Following(distance)),
            None => self.syntax(),
        }
    }

    /// Calls with key words between their arguments. `None`: an ordinary call, the cursor has not moved.
    fn special_call(&mut self, name: &Token) -> Result<Option<Expr>> {
        let mark = self.mark();
        let special = match name.value.as_str() {
            "extract" => self.extract().map(Some),
            "position" => self.position_call().map(Some),
            "substring" => self.substring(),
            "overlay" => self.overlay(),
            "trim" => self.trim().map(Some),
            "collation" => self.unsupported("COLLATION FOR"),
            _ => Ok(None),
        }?;
        if special.is_none() {
            self.reset(mark);
        }
        Ok(special)
    }

    fn extract(&mut self) -> Result<Expr> {
        self.open()?;
        let token = self.token();
        let ident = match token.kind {
            Kind::Text => {
                self.advance();
                Ident { value: token.value.clone(), quote_style: Some('\''), span: token.span }
            }
            _ => self.non_reserved_word()?,
        };
        self.expect("from")?;
        let expr = Box::new(self.expression()?);
        self.close()?;
        Ok(Expr::Extract { field: extract_field(ident), syntax: ExtractSyntax::From, expr })
    }

    fn position_call(&mut self) -> Result<Expr> {
        self.open()?;
        let expr = Box::new(self.bounded_expression()?);
        self.expect("in")?;
        let r#in = Box::new(self.bounded_expression()?);
        self.close()?;
        Ok(Expr::Position { expr, r#in })
    }

    fn substring(&mut self) -> Result<Option<Expr>> {
        self.open()?;
        if self.is_operator(")") {
            return Ok(None);
        }
        let expr = Box::new(self.expression()?);
        let (mut from, mut length) = (None, None);
        if self.is("similar") {
            return self.unsupported("SUBSTRING … SIMILAR");
        }
        if !self.is_any(&["from", "for"]) {
            return Ok(None);
        }
        while let Some(word) = self.one_of(&["from", "for"]) {
            let slot = if word == "from" { &mut from } else { &mut length };
            if slot.is_some() {
                return Err(self.syntax_at(self.last()));
            }
            *slot = Some(Box::new(self.expression()?));
        }
        self.close()?;
        let (substring_from, substring_for) = (from, length);
        Ok(Some(Expr::Substring { expr, substring_from, substring_for, special: false, shorthand: false }))
    }

    fn overlay(&mut self) -> Result<Option<Expr>> {
        self.open()?;
        let expr = Box::new(self.expression()?);
        if !self.accept("placing") {
            return Ok(None);
        }
        let overlay_what = Box::new(self.expression()?);
        self.expect("from")?;
        let overlay_from = Box::new(self.expression()?);
        let overlay_for = if self.accept("for") { Some(Box::new(self.expression()?)) } else { None };
        self.close()?;
        Ok(Some(Expr::Overlay { expr, overlay_what, overlay_from, overlay_for }))
    }

    /// `trim([BOTH | LEADING | TRAILING] [[what] FROM] text)` and `trim(text, what)`.
    fn trim(&mut self) -> Result<Expr> {
        self.open()?;
        let trim_where = match self.one_of(&["both", "leading", "trailing"]) {
            Some("both") => Some(TrimWhereField::Both),
            Some("leading") => Some(TrimWhereField::Leading),
            Some(_) => Some(TrimWhereField::Trailing),
            None => None,
        };
        let (mut trim_what, mut trim_characters) = (None, None);
        let expr = if self.accept("from") {
            self.expression()?
        } else {
            let first = self.expression()?;
            if self.accept("from") {
                trim_what = Some(Box::new(first));
                self.expression()?
            } else {
                first
            }
        };
        if self.accept_operator(",") {
            trim_characters = Some(self.expression_list()?);
        }
        self.close()?;
        Ok(Expr::Trim { trim_where, trim_what, expr: Box::new(expr), trim_characters })
    }
}

/// The fields that EXTRACT knows by name; any other is `Custom`, for the binder to refuse with its name.
fn extract_field(ident: Ident) -> DateTimeField {
    match fold(&ident).as_str() {
        "year" => DateTimeField::Year,
        "month" => DateTimeField::Month,
        "week" => DateTimeField::Week(None),
        "day" => DateTimeField::Day,
        "hour" => DateTimeField::Hour,
        "minute" => DateTimeField::Minute,
        "second" => DateTimeField::Second,
        "century" => DateTimeField::Century,
        "decade" => DateTimeField::Decade,
        "dow" => DateTimeField::Dow,
        "doy" => DateTimeField::Doy,
        "epoch" => DateTimeField::Epoch,
        "isodow" => DateTimeField::Isodow,
        "isoyear" => DateTimeField::Isoyear,
        "julian" => DateTimeField::Julian,
        "microseconds" => DateTimeField::Microseconds,
        "millennium" => DateTimeField::Millennium,
        "milliseconds" => DateTimeField::Milliseconds,
        "quarter" => DateTimeField::Quarter,
        "timezone" => DateTimeField::Timezone,
        "timezone_hour" => DateTimeField::TimezoneHour,
        "timezone_minute" => DateTimeField::TimezoneMinute,
        _ => DateTimeField::Custom(ident),
    }
}
