//! What comes before what: transforms behind those that they read, stages behind those that feed them or that they read aside.

use super::fuse::invalid;
use super::plan::{Plan, StageKind};
use super::{CollectionId, Graph, Op, Transform, TransformId};
use crate::error::Result;
use crate::id::StageId;
use std::collections::BTreeMap;

/// The transforms with their places.
pub(super) fn ids(graph: &Graph) -> impl Iterator<Item = (TransformId, &Transform)> {
    graph.transforms.iter().enumerate().map(|(i, t)| (TransformId(i as u32), t))
}

/// What a transform reads, side inputs too.
pub(super) fn inputs(graph: &Graph, id: TransformId) -> impl Iterator<Item = CollectionId> {
    let transform = graph.transform(id);
    let sides = transform.and_then(|t| if let Op::User(user) = &t.op { Some(&user.sides) } else { None });
    let main = transform.into_iter().flat_map(|t| t.inputs.iter().copied());
    main.chain(sides.into_iter().flatten().map(|(_, side, _)| *side))
}

/// Orders transforms so that producers of main and side inputs come first.
pub(super) fn topological(graph: &Graph, producer: &BTreeMap<CollectionId, TransformId>) -> Result<Vec<TransformId>> {
    let mut waiting: BTreeMap<TransformId, usize> = BTreeMap::new();
    let mut consumers: BTreeMap<TransformId, Vec<TransformId>> = BTreeMap::new();
    for (id, _) in ids(graph) {
        let mut count = 0;
        for input in inputs(graph, id) {
            if let Some(p) = producer.get(&input) {
                consumers.entry(*p).or_default().push(id);
                count += 1;
            }
        }
        waiting.insert(id, count);
    }
    let mut ready: Vec<TransformId> = waiting.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).rev().collect();
    let mut order = Vec::new();
    while let Some(id) = ready.pop() {
        order.push(id);
        for consumer in consumers.remove(&id).unwrap_or_default() {
            if let Some(n) = waiting.get_mut(&consumer) {
                *n -= 1;
                if *n == 0 {
                    ready.push(consumer);
                }
            }
        }
    }
    if order.len() < graph.transforms.len() {
        return Err(invalid("the pipeline has a cycle".to_owned()));
    }
    Ok(order)
}

/// Renumbers stages so that every edge, also a side input's, goes from a smaller id to a larger one.
pub(super) fn sort_stages(plan: &mut Plan) -> Result<()> {
    let n = plan.stages.len();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); n];
    let mut waiting = vec![0usize; n];
    let mut arrow = |from: StageId, to: StageId| {
        if let (Some(list), Some(count)) = (after.get_mut(from.0 as usize), waiting.get_mut(to.0 as usize)) {
            list.push(to.0 as usize);
            *count += 1;
        }
    };
    for edge in &plan.edges {
        arrow(edge.from, edge.to);
    }
    for stage in &plan.stages {
        if let StageKind::Worker(worker) = &stage.kind {
            worker.sides.iter().for_each(|side| arrow(side.view, stage.id));
        }
    }
    let mut ready: Vec<usize> = (0..n).filter(|i| waiting.get(*i) == Some(&0)).rev().collect();
    let mut number = vec![StageId(0); n];
    let mut next = 0;
    while let Some(i) = ready.pop() {
        if let Some(place) = number.get_mut(i) {
            *place = StageId(next);
        }
        next += 1;
        for &to in after.get(i).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(to) {
                *count -= 1;
                if *count == 0 {
                    ready.push(to);
                }
            }
        }
    }
    if next as usize != n {
        return Err(invalid("a stage reads its own output as a side input".to_owned()));
    }
    let new = |id: StageId| number.get(id.0 as usize).copied().unwrap_or(id);
    for edge in &mut plan.edges {
        edge.from = new(edge.from);
        edge.to = new(edge.to);
    }
    for stage in &mut plan.stages {
        stage.id = new(stage.id);
        if let StageKind::Worker(worker) = &mut stage.kind {
            worker.sides.iter_mut().for_each(|side| side.view = new(side.view));
        }
    }
    plan.stages.sort_by_key(|s| s.id);
    Ok(())
}
