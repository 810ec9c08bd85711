//! The host's own functions that take elements one by one.

mod create;
mod decode;
mod info;
mod log;
mod map;
mod pairs;
mod parse;
mod value;
mod window;

pub use decode::Decode;
pub use pairs::Split;

use super::{Registry, Shape, urn};
use crate::pipeline::urn as standard;

/// Adds them to the table.
pub fn register(registry: &mut Registry) {
    let plain = Shape::default;
    registry.register(standard::WINDOW_INTO, plain(), |setup| Ok(Box::new(window::WindowInto::new(setup)?)));
    registry.register(urn::CREATE, plain(), |setup| Ok(Box::new(create::Create::new(&setup.json()?)?)));
    registry.register(urn::WINDOWING_INFO, plain(), |setup| Ok(Box::new(info::ExtractInfo::new(setup.json()?))));
    registry.register(urn::MAP_FIELDS, plain(), |setup| Ok(Box::new(map::Map::new(setup.json()?))));
    registry.register(urn::LOG, plain(), |setup| Ok(Box::new(log::Log::new(setup.name, setup.json()?))));
    registry.register(urn::PARSE_JSON, plain(), |setup| Ok(Box::new(parse::Parse::new(setup)?)));
    registry.register(urn::WRAP_VALUE, plain(), |setup| Ok(Box::new(value::Wrap::new(setup.json()?)?)));
    registry.register(urn::ROWS_TO_PAIRS, plain(), |setup| Ok(Box::new(pairs::Split::new(setup.json()?)?)));
    registry.register(urn::PAIRS_TO_ROWS, plain(), |setup| Ok(Box::new(pairs::Join::new(setup.json()?))));
    registry.register(urn::UNWRAP_VALUE, plain(), |setup| Ok(Box::new(value::Unwrap::new(setup.json()?)?)));
}
