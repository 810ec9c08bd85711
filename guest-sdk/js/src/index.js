// Functions of Thalweg pipelines in JavaScript, as WebAssembly components. README.md takes a newcomer from nothing to a deployed one.

export { t } from './coders.js';
export { CombineFn } from './combine.js';
export { component } from './component.js';
export { DoFn, at, dofn, to } from './dofn.js';
export { Failure } from './failure.js';
export { clock, env, random } from './machine.js';
export { KeySelector, keySelector } from './select.js';
export { side, table } from './side.js';
export { state } from './slots.js';
export { Values } from './values.js';
export { WindowFn, mergeOverlapping } from './windowfn.js';
export { GlobalWindow, IntervalWindow, PaneInfo, UnknownWindow } from './windows.js';
