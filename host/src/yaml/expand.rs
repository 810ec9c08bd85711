//! From transforms of the file to transforms of the proto: inputs are resolved, lists of inputs flattened, windows
//! assigned, composites opened.
//!
//! A transform is expanded when someone asks for its outputs, so the order in the file does not matter and producers come
//! first in the proto.

use super::Around;
use super::node::{Fields, Node, Place};
use super::outputs::{Outputs, check_errors_are_read, pick};
use super::spec::{Body, Output, Reference, Step};
use super::suggest::did_you_mean;
use super::transforms;
use super::windows::windows;
use crate::pipeline::{Collection, PipelineBuilder, Windows};
use std::collections::{BTreeMap, BTreeSet};
use thalweg_core::error::{Error, Result};

/// How deep composites may be nested.
const DEPTH_MAX: usize = 64;

/// A transform that is not a composite, about to be expanded.
#[derive(Debug)]
pub struct Leaf<'a, 'n> {
    /// Its unique name.
    pub name: String,
    /// Its type.
    pub kind: &'n str,
    /// Where its type stands.
    pub place: &'n Place,
    /// Its inputs by local name.
    pub inputs: Vec<(String, Collection)>,
    /// Its configuration.
    pub config: Fields<'n>,
    /// The proto.
    pub build: &'a mut PipelineBuilder,
    /// What the file stands in.
    pub around: &'a Around<'a>,
}

impl Leaf<'_, '_> {
    /// The only input.
    ///
    /// # Errors
    /// `YAML_INPUT` if there is none or more than one.
    pub fn input(&self) -> Result<Collection> {
        match self.inputs.as_slice() {
            [(_, input)] => Ok(input.clone()),
            [] => Err(self
                .place
                .error("YAML_INPUT", format!("`{}` needs an input", self.kind))
                .help("add `input:` with the name of the transform before it, or make the pipeline a chain")),
            _ => Err(self
                .place
                .error("YAML_INPUT", format!("`{}` takes one input", self.kind))
                .help("give one name, or a list of names to put together: `input: [A, B]`")),
        }
    }

    /// Refuses inputs: for sources.
    ///
    /// # Errors
    /// `YAML_INPUT` if there is one.
    pub fn no_input(&self) -> Result<()> {
        if self.inputs.is_empty() {
            return Ok(());
        }
        let error = self.place.error("YAML_INPUT", format!("`{}` reads data and takes no input", self.kind));
        Err(error.help("leave `input` out"))
    }

    /// Adds an output of this transform, in the windows of `like`.
    pub fn output(&mut self, tag: &str, element: crate::pipeline::Element, like: &Collection) -> Collection {
        self.build.collection(&format!("{}.{tag}", self.name), element, like.windows, like.bounded)
    }
}

/// Expands a file's pipeline into `build`.
pub fn expand(root: &Step, build: &mut PipelineBuilder, around: &Around<'_>) -> Result<()> {
    let Some(body) = &root.body else { return Ok(()) };
    let windowing = root.windowing.as_ref();
    let mut scope = Scope::new("", body, BTreeMap::new(), windowing, 0);
    for i in 0..body.steps.len() {
        scope.outputs(i, build, around)?;
    }
    body.steps.iter().try_for_each(|step| check_errors_are_read(step, body))
}

/// Names inside one composite.
struct Scope<'n> {
    prefix: String,
    steps: &'n [Step],
    inputs: BTreeMap<String, Collection>,
    /// Windows for transforms without input.
    windowing: Option<&'n Node>,
    done: Vec<State>,
    depth: usize,
}

enum State {
    Waiting,
    Running,
    Done(Outputs),
}

impl<'n> Scope<'n> {
    fn new(
        prefix: &str,
        body: &'n Body,
        inputs: BTreeMap<String, Collection>,
        windowing: Option<&'n Node>,
        depth: usize,
    ) -> Self {
        let done = body.steps.iter().map(|_| State::Waiting).collect();
        Self { prefix: prefix.to_owned(), steps: &body.steps, inputs, windowing, done, depth }
    }

    /// What the transform at a place gives.
    fn outputs(&mut self, i: usize, build: &mut PipelineBuilder, around: &Around<'_>) -> Result<Outputs> {
        let steps = self.steps;
        let (Some(step), Some(state)) = (steps.get(i), self.done.get_mut(i)) else { return Ok(Outputs::default()) };
        match state {
            State::Done(outputs) => return Ok(outputs.clone()),
            State::Running => {
                let error = step.place.error("YAML_CYCLE", format!("`{}` reads its own output", step.label));
                return Err(error.help("transforms cannot form a circle: change one `input` of it"));
            }
            State::Waiting => *state = State::Running,
        }
        let outputs = self.expand(step, build, around)?;
        if let Some(state) = self.done.get_mut(i) {
            *state = State::Done(outputs.clone());
        }
        Ok(outputs)
    }

    fn expand(&mut self, step: &'n Step, build: &mut PipelineBuilder, around: &Around<'_>) -> Result<Outputs> {
        let mut resolved = Vec::new();
        for (key, references) in &step.inputs {
            let parts = references.iter().map(|r| self.resolve(r, build, around)).collect::<Result<Vec<_>>>()?;
            resolved.push((key.clone(), parts));
        }
        let name = self.unique(&step.label, build);
        let mut inputs = self.put_together(step, &name, resolved, build)?;
        let inherited = if inputs.is_empty() { self.windowing } else { None };
        let windowing = step.windowing.as_ref().or(inherited).filter(|_| step.kind != "WindowInto");
        if let Some(node) = windowing {
            let windows = windows(node, build, around)?;
            for (key, input) in &mut inputs {
                *input = window_into(build, &format!("{name}/WindowInto[{key}]"), input, windows);
            }
        }
        let Some(body) = &step.body else {
            let given = if step.kind == "WindowInto" { step.windowing.as_ref() } else { None };
            let sources = inputs.is_empty();
            let mut outputs = self.leaf(step, &name, inputs, given, build, around)?;
            if let Some(node) = windowing.filter(|_| sources) {
                let windows = windows(node, build, around)?;
                rewindow(build, &name, &mut outputs, windows);
            }
            return Ok(outputs);
        };
        if self.depth >= DEPTH_MAX {
            return Err(step.place.error("YAML_DEPTH", "composites are nested too deeply").help("flatten the file"));
        }
        build.open(&name);
        let ends = inputs.clone();
        let mut inner = Scope::new(&name, body, inputs.into_iter().collect(), windowing, self.depth + 1);
        for i in 0..body.steps.len() {
            inner.outputs(i, build, around)?;
        }
        let outputs = inner.composite_outputs(&body.output, build, around)?;
        body.steps.iter().try_for_each(|step| check_errors_are_read(step, body))?;
        build.close(&borrowed(&ends), &borrowed(&outputs.named));
        Ok(outputs)
    }

    fn composite_outputs(
        &mut self,
        output: &Output,
        build: &mut PipelineBuilder,
        around: &Around<'_>,
    ) -> Result<Outputs> {
        match output {
            Output::None => Ok(Outputs::default()),
            Output::All(last) => self.outputs(*last, build, around),
            Output::Named(named) => {
                let mut outputs = Outputs::default();
                for (key, reference) in named {
                    outputs.named.push((key.clone(), self.resolve(reference, build, around)?));
                }
                if let [(_, only)] = outputs.named.as_slice() {
                    outputs.main = Some(only.clone());
                }
                Ok(outputs)
            }
        }
    }

    fn leaf(
        &self,
        step: &'n Step,
        name: &str,
        inputs: Vec<(String, Collection)>,
        windowing: Option<&Node>,
        build: &mut PipelineBuilder,
        around: &Around<'_>,
    ) -> Result<Outputs> {
        let config = Fields::of(&step.config)?;
        let leaf = Leaf { name: name.to_owned(), kind: &step.kind, place: &step.place, inputs, config, build, around };
        transforms::expand(leaf, windowing).map_err(|e| e.in_transform(name))
    }

    /// The collection a reference means.
    fn resolve(&mut self, of: &Reference, build: &mut PipelineBuilder, around: &Around<'_>) -> Result<Collection> {
        let (step, output, place) = match of {
            Reference::Outer(key) => {
                return self
                    .inputs
                    .get(key)
                    .cloned()
                    .ok_or_else(|| Error::internal("YAML_INPUT", "a chain lost its input"));
            }
            Reference::Step(i, output) => {
                let place = self.steps.get(*i).map(|s| s.place.clone());
                (*i, output.as_ref().map(|(name, _)| name.as_str()), output.as_ref().map(|(_, p)| p.clone()).or(place))
            }
            Reference::Name(name, place) => {
                if let Some(input) = self.inputs.get(name) {
                    return Ok(input.clone());
                }
                let (step, output) = self.find(name, place)?;
                (step, output, Some(place.clone()))
            }
        };
        let outputs = self.outputs(step, build, around)?;
        let label = self.steps.get(step).map_or("", |s| s.label.as_str());
        pick(&outputs, label, output).map_err(|(message, help)| match place {
            Some(place) => place.error("YAML_UNKNOWN_INPUT", message).help(help),
            None => Error::user("YAML_UNKNOWN_INPUT", message).help(help),
        })
    }

    /// The transform that a name means, and the output if it names one.
    fn find<'r>(&self, name: &'r str, place: &Place) -> Result<(usize, Option<&'r str>)> {
        if let Some(step) = self.by_label(name, place)? {
            return Ok((step, None));
        }
        if let Some((before, output)) = name.rsplit_once('.')
            && let Some(step) = self.by_label(before, place)?
        {
            return Ok((step, Some(output)));
        }
        let labels: Vec<&str> =
            self.steps.iter().map(|s| s.label.as_str()).chain(self.inputs.keys().map(String::as_str)).collect();
        let wanted = name.rsplit_once('.').map_or(name, |(before, _)| before);
        Err(place
            .error("YAML_UNKNOWN_INPUT", format!("there is no transform `{name}`"))
            .help(did_you_mean(wanted, &labels)))
    }

    fn by_label(&self, name: &str, place: &Place) -> Result<Option<usize>> {
        // a transform goes by its name, and by its type, too
        let matching = |s: &&Step| s.label == name || s.kind == name;
        let mut found = self.steps.iter().enumerate().filter(|(_, s)| matching(s));
        match (found.next(), found.next()) {
            (Some(_), Some((_, other))) => Err(place
                .error("YAML_AMBIGUOUS_INPUT", format!("`{name}` means more than one transform"))
                .help(format!("give them a `name` each; another one is at line {}", other.place.line))),
            (first, _) => Ok(first.map(|(i, _)| i)),
        }
    }

    /// One collection per local name: lists are flattened, but for a Flatten, which takes them apart.
    fn put_together(
        &self,
        step: &Step,
        name: &str,
        resolved: Vec<(String, Vec<Collection>)>,
        build: &mut PipelineBuilder,
    ) -> Result<Vec<(String, Collection)>> {
        let mut taken: BTreeSet<String> = resolved.iter().map(|(key, _)| key.clone()).collect();
        let mut inputs = Vec::new();
        for (key, parts) in resolved {
            match parts.as_slice() {
                [one] => inputs.push((key, one.clone())),
                many if step.kind == "Flatten" => {
                    // the second part of `input` must not take the name of an `input1` beside it
                    let mut names = (0..).map(|i| format!("{key}{i}")).filter(|name| taken.insert(name.clone()));
                    inputs.extend(many.iter().filter_map(|c| Some((names.next()?, c.clone()))));
                }
                many => {
                    let parts: Vec<_> =
                        many.iter().enumerate().map(|(i, c)| (format!("{key}{i}"), c.clone())).collect();
                    inputs.push((
                        key.clone(),
                        transforms::flatten(build, &format!("{name}/Flatten[{key}]"), &parts, &step.place)?,
                    ));
                }
            }
        }
        Ok(inputs)
    }

    fn unique(&self, label: &str, build: &PipelineBuilder) -> String {
        let base = if self.prefix.is_empty() { label.to_owned() } else { format!("{}/{label}", self.prefix) };
        let mut name = base.clone();
        let mut n = 1;
        while build.has(&name) {
            n += 1;
            name = format!("{base}_{n}");
        }
        name
    }
}

/// Adds a transform that assigns windows.
pub fn window_into(build: &mut PipelineBuilder, name: &str, input: &Collection, windows: Windows) -> Collection {
    let output = build.collection(&format!("{name}.output"), input.element.clone(), windows, input.bounded);
    build.window_into(name, input, &output);
    output
}

/// Assigns windows to what a source gives.
fn rewindow(build: &mut PipelineBuilder, name: &str, outputs: &mut Outputs, windows: Windows) {
    let before = std::mem::take(&mut outputs.named);
    let main = outputs.main.take();
    for (tag, collection) in before {
        let windowed = window_into(build, &format!("{name}/WindowInto[{tag}]"), &collection, windows);
        if main.as_ref() == Some(&collection) {
            outputs.main = Some(windowed.clone());
        }
        outputs.named.push((tag, windowed));
    }
}

fn borrowed(ends: &[(String, Collection)]) -> Vec<(&str, &Collection)> {
    ends.iter().map(|(tag, c)| (tag.as_str(), c)).collect()
}
