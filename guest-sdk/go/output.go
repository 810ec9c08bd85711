package thalweg

import (
	"thalweg/internal/coder"
	"thalweg/internal/frame"
)

// Output is a field that names an output: `Words thalweg.Output[string]`. The first one is the main output.
type Output[T any] struct {
	ctx   *Context
	coder *coder.Coder
	index uint32
	// The place of the element that is written: one that lived as long as a call would be garbage.
	element T
}

func (o *Output[T]) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	o.ctx, o.coder, o.index = ctx, coder.Of[T](), uint32(len(to.outputs))
	to.outputs = append(to.outputs, entry(name, `"coder":`+o.coder.JSON))
}

// Emit puts an element out, with time and windows of the element that is being processed.
func (o *Output[T]) Emit(element T) { o.push(place{o.ctx.row, frame.InheritTime, nil}, element) }

// EmitAt puts an element out with an event time of its own.
func (o *Output[T]) EmitAt(time EventTime, element T) {
	o.push(place{o.ctx.row, int64(time), nil}, element)
}

// EmitIn puts an element out with an event time and windows of its own.
func (o *Output[T]) EmitIn(time EventTime, windows []Window, element T) {
	o.push(place{o.ctx.row, int64(time), windows}, element)
}

// Many rows leave before the call ends when they are this large.
const flushBytes = 256 * 1024

func (o *Output[T]) push(at place, element T) {
	if at.source == frame.None && at.windows == nil {
		panic("thalweg: where a bundle begins or ends there is no element: give a time and windows by EmitIn")
	}
	rows := &o.ctx.rows
	o.element = element
	push(rows, o.coder, o.index, at, &o.element)
	if rows.size() >= flushBytes {
		// Rows of an element that fails later are dropped by the host, so it does not matter that they have left.
		frame := rows.write(o.ctx.early)
		o.ctx.early = frame.Bytes()
		o.ctx.host.Emit(o.ctx.early)
		rows.clear()
	}
}
