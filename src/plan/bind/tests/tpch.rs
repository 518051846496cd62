//! The 22 queries of TPC-H bind, optimise and plan over empty tables.

use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::fixture::{bind_over, column, empty};
use crate::encode::types::PgType;
use crate::plan::relations::Relations;

const QUERIES: [&str; 22] = [
    include_str!("../../../../tests/data/tpch/q1.sql"),
    include_str!("../../../../tests/data/tpch/q2.sql"),
    include_str!("../../../../tests/data/tpch/q3.sql"),
    include_str!("../../../../tests/data/tpch/q4.sql"),
    include_str!("../../../../tests/data/tpch/q5.sql"),
    include_str!("../../../../tests/data/tpch/q6.sql"),
    include_str!("../../../../tests/data/tpch/q7.sql"),
    include_str!("../../../../tests/data/tpch/q8.sql"),
    include_str!("../../../../tests/data/tpch/q9.sql"),
    include_str!("../../../../tests/data/tpch/q10.sql"),
    include_str!("../../../../tests/data/tpch/q11.sql"),
    include_str!("../../../../tests/data/tpch/q12.sql"),
    include_str!("../../../../tests/data/tpch/q13.sql"),
    include_str!("../../../../tests/data/tpch/q14.sql"),
    include_str!("../../../../tests/data/tpch/q15.sql"),
    include_str!("../../../../tests/data/tpch/q16.sql"),
    include_str!("../../../../tests/data/tpch/q17.sql"),
    include_str!("../../../../tests/data/tpch/q18.sql"),
    include_str!("../../../../tests/data/tpch/q19.sql"),
    include_str!("../../../../tests/data/tpch/q20.sql"),
    include_str!("../../../../tests/data/tpch/q21.sql"),
    include_str!("../../../../tests/data/tpch/q22.sql"),
];

fn tables() -> Relations {
    let (key, int, money, day, text) = (PgType::INT8, PgType::INT4, PgType::numeric(15, 2), PgType::DATE, PgType::TEXT);
    let definitions: [(&str, &[(&str, PgType)]); 8] = [
        ("region", &[("r_regionkey", int), ("r_name", text), ("r_comment", text)]),
        ("nation", &[("n_nationkey", int), ("n_name", text), ("n_regionkey", int), ("n_comment", text)]),
        (
            "part",
            &[
                ("p_partkey", key),
                ("p_name", text),
                ("p_mfgr", text),
                ("p_brand", text),
                ("p_type", text),
                ("p_size", int),
                ("p_container", text),
                ("p_retailprice", money),
                ("p_comment", text),
            ],
        ),
        (
            "supplier",
            &[
                ("s_suppkey", key),
                ("s_name", text),
                ("s_address", text),
                ("s_nationkey", int),
                ("s_phone", text),
                ("s_acctbal", money),
                ("s_comment", text),
            ],
        ),
        (
            "partsupp",
            &[
                ("ps_partkey", key),
                ("ps_suppkey", key),
                ("ps_availqty", int),
                ("ps_supplycost", money),
                ("ps_comment", text),
            ],
        ),
        (
            "customer",
            &[
                ("c_custkey", key),
                ("c_name", text),
                ("c_address", text),
                ("c_nationkey", int),
                ("c_phone", text),
                ("c_acctbal", money),
                ("c_mktsegment", text),
                ("c_comment", text),
            ],
        ),
        (
            "orders",
            &[
                ("o_orderkey", key),
                ("o_custkey", key),
                ("o_orderstatus", text),
                ("o_totalprice", money),
                ("o_orderdate", day),
                ("o_orderpriority", text),
                ("o_clerk", text),
                ("o_shippriority", int),
                ("o_comment", text),
            ],
        ),
        (
            "lineitem",
            &[
                ("l_orderkey", key),
                ("l_partkey", key),
                ("l_suppkey", key),
                ("l_linenumber", int),
                ("l_quantity", money),
                ("l_extendedprice", money),
                ("l_discount", money),
                ("l_tax", money),
                ("l_returnflag", text),
                ("l_linestatus", text),
                ("l_shipdate", day),
                ("l_commitdate", day),
                ("l_receiptdate", day),
                ("l_shipinstruct", text),
                ("l_shipmode", text),
                ("l_comment", text),
            ],
        ),
    ];
    let mut relations = Relations::default();
    for (name, columns) in definitions {
        empty(&mut relations, name, columns.iter().map(|(name, ty)| column(name, *ty)).collect());
    }
    relations
}

#[tokio::test]
async fn every_query_binds_and_is_planned_without_subqueries_left() {
    let relations = tables();
    let context = SessionContext::new();
    let mut failures = Vec::new();
    for (index, text) in QUERIES.iter().enumerate() {
        let number = index + 1;
        let bound = match bind_over(&relations, text) {
            Ok(bound) => bound,
            Err(error) => {
                failures.push(format!("q{number}: {error:?} at {:?}", error.position()));
                continue;
            }
        };
        let optimised: LogicalPlan = match context.state().optimize(&bound.plan) {
            Ok(plan) => plan,
            Err(error) => {
                failures.push(format!("q{number}: {error}"));
                continue;
            }
        };
        let shown = optimised.display_indent().to_string();
        if std::env::var_os("SHOW_PLANS").is_some() {
            println!("q{number}\n{shown}");
        }
        if shown.contains("outer_ref") || shown.contains("CrossJoin") || shown.contains("Cross Join") {
            failures.push(format!("q{number} keeps a correlated or cross join:\n{shown}"));
        }
        if let Err(error) = context.state().create_physical_plan(&bound.plan).await {
            failures.push(format!("q{number}: {error}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
