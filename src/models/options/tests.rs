use super::{Kind, SPECS, Spec};
use crate::config::page;
use crate::models::ModelType;

fn bounds(high: f64, least: &str, most: &str) -> String {
    if high >= 1e18 { format!("{least} or more") } else { format!("{least} to {most}") }
}

fn values(kind: Kind) -> String {
    let words = |words: &[&str]| words.iter().map(|word| page::code(word)).collect::<Vec<_>>().join(", ");
    match kind {
        Kind::Integer(low, high) => bounds(high as f64, &low.to_string(), &high.to_string()),
        Kind::Number(low, high) => bounds(high, &low.to_string(), &high.to_string()),
        Kind::Above(low, high) => format!("above {low}, to {high}"),
        Kind::Between(low, high) => format!("above {low}, below {high}"),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Texts => "text or list".to_owned(),
        Kind::Choice(known) => words(known),
        Kind::ChoiceOr(known, low, high) => format!("{}, above {low}, to {high}", words(known)),
        Kind::Weights => "`balanced`, JSON".to_owned(),
    }
}

fn knows(spec: &Spec, kind: ModelType) -> bool {
    spec.types.contains(&kind)
}

#[test]
fn page_lists_every_option() {
    let common = |spec: &&Spec| ModelType::all().all(|kind| knows(spec, kind));
    let code = |specs: Vec<&str>| specs.into_iter().map(page::code).collect::<Vec<_>>().join(", ");
    let kinds = ModelType::all().map(|kind| {
        let own = SPECS.iter().filter(|spec| !common(spec) && knows(spec, kind));
        vec![page::code(kind.name()), code(kind.aliases().to_vec()), code(own.map(|spec| spec.name).collect())]
    });
    let options = SPECS.iter().map(|spec| {
        vec![
            page::code(spec.name),
            code(spec.aliases.to_vec()),
            values(spec.kind),
            page::code(spec.default),
            spec.about.to_owned(),
        ]
    });
    let expected = format!(
        "{}\n{}",
        page::table(&["`model_type`", "Also called", "Options beside `model_type` and `seed`"], kinds),
        page::table(&["Option", "Also called", "Values", "Default", "Meaning"], options)
    );
    page::check("models.md", &expected);
}

#[test]
fn names_of_options_are_clear() {
    for kind in ModelType::all() {
        let known: Vec<&Spec> = SPECS.iter().filter(|spec| knows(spec, kind)).collect();
        for (place, spec) in known.iter().enumerate() {
            let names = |spec: &Spec| [&[spec.name], spec.aliases].concat();
            for other in known.iter().skip(place + 1) {
                let same: Vec<&str> = names(spec).into_iter().filter(|name| names(other).contains(name)).collect();
                assert!(same.is_empty(), "{} and {} of {} are both {same:?}", spec.name, other.name, kind.name());
            }
        }
    }
}
