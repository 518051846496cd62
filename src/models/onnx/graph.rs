//! A graph that grows node by node; every value has a name of its own.

use std::collections::HashSet;

use super::proto::{
    Attribute, Dimension, Element, Extent, Graph, INT, INTS, Node, Shape, TENSOR, TEXT, TEXTS, Tensor, TensorType,
    Type, Value,
};

/// The domain of the operators of classic machine learning.
pub(super) const ML: &str = "ai.onnx.ml";
/// The first dimension of all that goes in and comes out.
const ROWS: &str = "N";

#[derive(Default)]
pub(super) struct Builder {
    graph: Graph,
    taken: HashSet<String>,
}

impl Builder {
    /// The names that inputs have are not given to other values.
    pub(super) fn new<'a>(inputs: impl Iterator<Item = &'a str>) -> Self {
        Self { graph: Graph::default(), taken: inputs.map(str::to_owned).collect() }
    }

    /// A column of the rows: one value each.
    pub(super) fn input(&mut self, name: &str, element: Element) {
        self.graph.inputs.push(value(name, element, Some(1)));
    }

    /// Lets a value be an output under that name, or one like it that is free; its name. `width` is `None` for one value a row
    /// without a second dimension.
    pub(super) fn output(&mut self, name: &str, from: &str, element: Element, width: Option<usize>) -> String {
        let name = self.named(name);
        self.push("", "Identity", vec![from.to_owned()], vec![name.clone()], Vec::new());
        self.graph.outputs.push(value(&name, element, width));
        name
    }

    fn named(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    fn push(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: Vec<String>,
        outputs: Vec<String>,
        attributes: Vec<Attribute>,
    ) {
        let name = format!("node_{}", self.graph.nodes.len());
        let (operator, domain) = (operator.to_owned(), domain.to_owned());
        self.graph.nodes.push(Node { inputs, outputs, name, operator, attributes, domain });
    }

    /// An operator of ONNX; its result.
    pub(super) fn add(&mut self, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        self.add_of("", operator, inputs, attributes)
    }

    /// An operator of a domain; its result.
    pub(super) fn add_of(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        let output = self.named(&format!("value_{}", self.graph.nodes.len()));
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        self.push(domain, operator, inputs, vec![output.clone()], attributes);
        output
    }

    /// The two halves of a value's columns.
    pub(super) fn halves(&mut self, of: &str, width: usize) -> (String, String) {
        let sizes = self.integers(&[width as i64, width as i64]);
        let (first, second) = (self.named("first"), self.named("second"));
        let outputs = vec![first.clone(), second.clone()];
        self.push("", "Split", vec![of.to_owned(), sizes], outputs, vec![int("axis", 1)]);
        (first, second)
    }

    pub(super) fn as_double(&mut self, from: &str) -> String {
        self.add("Cast", &[from], vec![int("to", Element::Double as i64)])
    }

    /// Columns beside each other; one alone stays as it is.
    pub(super) fn beside(&mut self, columns: &[String]) -> String {
        match columns {
            [one] => one.clone(),
            columns => {
                let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                self.add("Concat", &columns, vec![int("axis", 1)])
            }
        }
    }

    /// A matrix of that many columns.
    pub(super) fn doubles(&mut self, values: &[f64], columns: usize) -> String {
        let shape = vec![(values.len() / columns.max(1)) as i64, columns as i64];
        self.constant(Tensor { shape, ..double_tensor(values) })
    }

    pub(super) fn double(&mut self, value: f64) -> String {
        self.constant(Tensor { shape: Vec::new(), ..double_tensor(&[value]) })
    }

    pub(super) fn vector(&mut self, values: &[f64]) -> String {
        self.constant(double_tensor(values))
    }

    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Tensor { element: Element::Int64 as i32, raw, ..tensor(values.len()) })
    }

    pub(super) fn booleans(&mut self, values: &[bool]) -> String {
        let raw = values.iter().map(|value| u8::from(*value)).collect();
        self.constant(Tensor { element: Element::Bool as i32, raw, ..tensor(values.len()) })
    }

    pub(super) fn texts(&mut self, values: &[String]) -> String {
        let texts = bytes(values);
        self.constant(Tensor { element: Element::Text as i32, texts, ..tensor(values.len()) })
    }

    fn constant(&mut self, tensor: Tensor) -> String {
        let name = self.named(&format!("constant_{}", self.graph.constants.len()));
        self.graph.constants.push(Tensor { name: name.clone(), ..tensor });
        name
    }

    pub(super) fn finish(self, name: &str) -> Graph {
        Graph { name: name.to_owned(), ..self.graph }
    }
}

fn value(name: &str, element: Element, width: Option<usize>) -> Value {
    let rows = Extent::Named(ROWS.to_owned());
    let extents = [Some(rows), width.map(|width| Extent::Fixed(width as i64))];
    let dimensions = extents.into_iter().flatten().map(|extent| Dimension { extent: Some(extent) });
    let shape = Some(Shape { dimensions: dimensions.collect() });
    let tensor = TensorType { element: element as i32, shape };
    Value { name: name.to_owned(), ty: Some(Type { tensor: Some(tensor) }) }
}

fn tensor(count: usize) -> Tensor {
    Tensor { shape: vec![count as i64], ..Tensor::default() }
}

fn bytes(texts: &[String]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn double_tensor(values: &[f64]) -> Tensor {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { element: Element::Double as i32, raw, ..tensor(values.len()) }
}

fn attribute(name: &str, kind: i32) -> Attribute {
    Attribute { name: name.to_owned(), kind, ..Attribute::default() }
}

pub(super) fn int(name: &str, value: i64) -> Attribute {
    Attribute { int: Some(value), ..attribute(name, INT) }
}

pub(super) fn text(name: &str, value: &str) -> Attribute {
    Attribute { text: Some(value.as_bytes().to_vec()), ..attribute(name, TEXT) }
}

pub(super) fn ints(name: &str, ints: Vec<i64>) -> Attribute {
    Attribute { ints, ..attribute(name, INTS) }
}

pub(super) fn texts(name: &str, values: &[String]) -> Attribute {
    Attribute { texts: bytes(values), ..attribute(name, TEXTS) }
}

/// The same words for many nodes of a tree.
pub(super) fn words(name: &str, values: &[&'static str]) -> Attribute {
    let texts = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    Attribute { texts, ..attribute(name, TEXTS) }
}

pub(super) fn doubles(name: &str, values: &[f64]) -> Attribute {
    Attribute { tensor: Some(Tensor { name: name.to_owned(), ..double_tensor(values) }), ..attribute(name, TENSOR) }
}
