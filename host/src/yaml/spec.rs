//! The transforms of a file in one form: short cuts (chains, `source` and `sink`, `config` left out) are written out.
//!
//! In: the tree of the file. Out: [`Step`]s with their inputs as [`Reference`]s, not yet resolved. What a type of transform
//! means is not known here.

use super::node::{Fields, Key, Node, Place, Value};
use thalweg_core::error::{Error, Result};

/// Keys of a transform that are not part of its configuration.
const COMMON: [&str; 12] = [
    "type",
    "name",
    "input",
    "output",
    "windowing",
    "config",
    "transforms",
    "extra_transforms",
    "source",
    "sink",
    "resource_hints",
    "output_schema",
];

/// A transform of the file.
#[derive(Debug)]
pub struct Step {
    /// Its name, or its type if it has none.
    pub label: String,
    /// Its type; `composite` for chains, too.
    pub kind: String,
    /// Where its type stands.
    pub place: Place,
    /// Local names and what they are made of: more than one is put together.
    pub inputs: Vec<(String, Vec<Reference>)>,
    /// Windows for its inputs, or, if it has none, for its outputs.
    pub windowing: Option<Node>,
    /// Its configuration: a mapping or nothing.
    pub config: Node,
    /// What is inside a composite.
    pub body: Option<Body>,
}

impl Step {
    /// Gives it what it reads. In a chain that goes on to the first transform inside; and so it does in a composite of which no
    /// transform says what it reads or gives: as in Beam, they are a chain then.
    fn feed(&mut self, inputs: Vec<(String, Vec<Reference>)>) {
        if let Some(body) = &mut self.body {
            if !body.chain && body.steps.iter().all(Self::is_implicit) {
                body.chain = true;
                wire(&mut body.steps);
                if let Output::None = body.output {
                    body.output = Output::All(body.steps.len() - 1);
                }
            }
            let outer = inputs.iter().map(|(key, _)| (key.clone(), vec![Reference::Outer(key.clone())]));
            if let Some(first) = body.steps.first_mut().filter(|_| body.chain) {
                first.feed(outer.collect());
            }
        }
        self.inputs = inputs;
    }

    /// Whether it names neither inputs nor outputs.
    fn is_implicit(&self) -> bool {
        self.inputs.is_empty() && !matches!(self.body, Some(Body { output: Output::Named(_), .. }))
    }
}

/// The inside of a composite.
#[derive(Debug)]
pub struct Body {
    /// Whether it is a chain: what comes in goes to its first transform.
    chain: bool,
    /// The transforms.
    pub steps: Vec<Step>,
    /// What it gives.
    pub output: Output,
}

/// Outputs of a composite.
#[derive(Debug)]
pub enum Output {
    /// None.
    None,
    /// Those of one of its transforms, by place.
    All(usize),
    /// Named ones.
    Named(Vec<(String, Reference)>),
}

/// Names a collection.
#[derive(Clone, Debug)]
pub enum Reference {
    /// As the file names it: a transform, a transform and its output, or an input of the composite around.
    Name(String, Place),
    /// The output (`None`: the main one) of a transform beside it, by place.
    Step(usize, Option<(String, Place)>),
    /// An input of the composite around it.
    Outer(String),
}

/// The pipeline of a file.
///
/// # Errors
/// `YAML_*` for what is not a pipeline.
pub fn pipeline(top: &Node) -> Result<Step> {
    let mut fields = Fields::of(top)?;
    let pipeline = fields.need("pipeline")?;
    fields.get("tests"); // for Beam's own test runner
    fields.get("tables"); // ours, read elsewhere
    if let Some(providers) = fields.get("providers").filter(|n| !is_empty(n)) {
        let error = providers.place.error("YAML_UNSUPPORTED", "providers of transforms are not read");
        return Err(error.help(super::transforms::RUN_WITH_BEAM));
    }
    // options are Beam's and a runner's; none of them changes how Thalweg reads a file
    if let Some(options) = fields.get("options") {
        options.map()?;
    }
    fields.finish()?;
    root(pipeline)
}

fn root(node: &Node) -> Result<Step> {
    if let Value::List(_) = node.value {
        let body = Body { chain: false, steps: steps(node)?, output: Output::None };
        return Ok(composite(node, body, nothing(&node.place)));
    }
    let mut fields = Fields::of(node)?;
    let chain = match fields.get("type") {
        None => false,
        Some(kind) => match kind.text()? {
            "chain" => true,
            "composite" => false,
            other => {
                let error =
                    kind.place.error("YAML_UNKNOWN_TRANSFORM", format!("a pipeline cannot be of type `{other}`"));
                return Err(error.help("use `type: chain` or `type: composite`, or leave it out"));
            }
        },
    };
    fields.get("name");
    let windowing = fields.get("windowing").cloned();
    let body = Body { output: Output::None, ..body_steps(&mut fields, chain)? };
    fields.finish()?;
    let mut root = composite(node, body, nothing(&node.place));
    root.windowing = windowing;
    Ok(root)
}

fn composite(node: &Node, body: Body, config: Node) -> Step {
    Step {
        label: String::new(),
        kind: "composite".to_owned(),
        place: node.place.clone(),
        inputs: Vec::new(),
        windowing: None,
        config,
        body: Some(body),
    }
}

fn nothing(place: &Place) -> Node {
    Node { value: Value::Null, place: place.clone() }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

/// A list of transforms.
fn steps(list: &Node) -> Result<Vec<Step>> {
    list.list()?.iter().map(step).collect()
}

fn step(node: &Node) -> Result<Step> {
    let entries = node.map()?;
    // of all keys only `type` is needed, so a missing one is told first
    let find = |name: &str| entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    let Some(kind) = find("type") else {
        let error = node.place.error("YAML_MISSING_KEY", "a transform has no `type`");
        return Err(error.help("add `type:`, for example `type: WindowInto`"));
    };
    let name = find("name").map(Node::text).transpose()?;
    let text = kind.text()?;
    let label = name.unwrap_or(if text == "chain" { "Chain" } else { text }).to_owned();
    let inputs = find("input").map_or(Ok(Vec::new()), inputs)?;
    let mut step = Step {
        label,
        kind: text.to_owned(),
        place: kind.place.clone(),
        inputs: Vec::new(),
        windowing: find("windowing").cloned(),
        config: nothing(&node.place),
        body: None,
    };
    if matches!(text, "chain" | "composite") {
        step.body = Some(nested(node, text == "chain")?);
        step.kind = "composite".to_owned();
    } else {
        step.config = config(node, entries)?;
        if let Some(output) = find("output").or(find("output_schema")) {
            return Err(output
                .place
                .error("YAML_UNSUPPORTED", "`output` and `output_schema` of a single transform are not read")
                .help("name an output where it is used: `input: Name.output`"));
        }
    }
    if !inputs.is_empty() {
        step.feed(inputs);
    }
    Ok(step)
}

/// The configuration: under `config`, or beside the common keys.
fn config(node: &Node, entries: &[(Key, Node)]) -> Result<Node> {
    let own = entries.iter().find(|(key, _)| key.name == "config").map(|(_, node)| node);
    let mut beside = entries.iter().filter(|(key, _)| !COMMON.contains(&key.name.as_str()));
    match own {
        Some(config) => match beside.next() {
            Some((key, _)) => Err(key
                .place
                .error("YAML_UNKNOWN_KEY", format!("`{}` stands beside `config`", key.name))
                .help(format!("move it into `config:`, or, if it is meant for another key: {}", COMMON.join(", ")))),
            None => Ok(config.clone()),
        },
        None => Ok(Node { value: Value::Map(beside.cloned().collect()), place: node.place.clone() }),
    }
}

/// The inputs of a transform: a name, a list of names, or local names with either.
fn inputs(node: &Node) -> Result<Vec<(String, Vec<Reference>)>> {
    let references = |node: &Node| -> Result<Vec<Reference>> {
        Ok(node.texts()?.into_iter().map(|(name, place)| Reference::Name(name.to_owned(), place.clone())).collect())
    };
    match &node.value {
        Value::Map(map) => map.iter().map(|(key, node)| Ok((key.name.clone(), references(node)?))).collect(),
        Value::Null => Ok(Vec::new()),
        _ => Ok(vec![("input".to_owned(), references(node)?)]),
    }
}

/// The inside of a chain or composite.
fn nested(node: &Node, chain: bool) -> Result<Body> {
    let mut fields = Fields::of(node)?;
    for key in ["type", "name", "input", "windowing", "resource_hints"] {
        fields.get(key);
    }
    let mut body = body_steps(&mut fields, chain)?;
    let output = fields.get("output");
    fields.finish()?;
    if let Some(output) = output {
        let named: Vec<(String, &Node)> = match &output.value {
            Value::Map(map) => map.iter().map(|(key, node)| (key.name.clone(), node)).collect(),
            _ => vec![("output".to_owned(), output)],
        };
        let last = match body.output {
            Output::All(last) => Some(last),
            _ => None,
        };
        let reference = |node: &Node| -> Result<Reference> {
            let name = node.text()?.to_owned();
            Ok(match last {
                Some(last) if chain => Reference::Step(last, Some((name, node.place.clone()))),
                _ => Reference::Name(name, node.place.clone()),
            })
        };
        let named = named.into_iter().map(|(key, node)| Ok((key, reference(node)?))).collect::<Result<_>>()?;
        body.output = Output::Named(named);
    }
    Ok(body)
}

/// `source`, `transforms`, `sink` and `extra_transforms`, in a chain wired one to the next.
fn body_steps(fields: &mut Fields<'_>, chain: bool) -> Result<Body> {
    let place = fields.place();
    let mut list = Vec::new();
    if let Some(source) = fields.get("source") {
        list.push(step(source)?);
    }
    let with_source = !list.is_empty();
    match fields.get("transforms") {
        Some(transforms) => list.extend(steps(transforms)?),
        None if with_source => {}
        None => {
            return Err(place
                .error("YAML_MISSING_KEY", "`transforms` is missing")
                .help("add `transforms:` with a list"));
        }
    }
    if let Some(sink) = fields.get("sink") {
        list.push(step(sink)?);
    }
    if list.is_empty() {
        return Err(place.error("YAML_EMPTY", "there are no transforms").help("add at least one to `transforms:`"));
    }
    let last = list.len() - 1;
    if chain {
        if let Some(step) = list.iter().find(|step| !step.inputs.is_empty()) {
            return Err(explicit(step));
        }
        wire(&mut list);
        if let Some(extra) = fields.get("extra_transforms") {
            list.extend(steps(extra)?);
        }
    }
    Ok(Body { chain, steps: list, output: if chain { Output::All(last) } else { Output::None } })
}

/// Each transform but the first reads what the one before it gives.
fn wire(steps: &mut [Step]) {
    for (i, step) in steps.iter_mut().enumerate().skip(1) {
        step.feed(vec![("input".to_owned(), vec![Reference::Step(i - 1, None)])]);
    }
}

fn explicit(step: &Step) -> Error {
    let error = step.place.error("YAML_CHAIN_INPUT", format!("`{}` is part of a chain and has an `input`", step.label));
    error.help("leave `input` out: it takes what the transform before it gives; or use `type: composite`")
}
