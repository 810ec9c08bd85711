package thalweg

import (
	"encoding/json"
	"strings"
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// DoFn is a function from one element to any number of outputs. A pointer to a struct with this method is one; the methods of [Opener], [Closer],
// [Bundler], [TimerHandler] and [Expirer] are called if it has them.
type DoFn[In any] interface {
	// Process handles one element. An error fails the element, and what it did is taken back.
	Process(ctx *Context, element In) error
}

// Opener is called when an instance is made, behind the reading of the configuration: Beam's setup. An error refuses the configuration.
type Opener interface{ Open() error }

// Closer is called when an instance is dropped: Beam's teardown. It is not called after a trap.
type Closer interface{ Close() }

// Bundler is called where bundles begin and end. There is no element, so outputs need a time and windows: [Output.EmitIn]. An error fails the bundle.
type Bundler interface {
	StartBundle(ctx *Context) error
	FinishBundle(ctx *Context) error
}

// TimerHandler handles a timer that has come due. State and outputs are those of its key, which is [Key], and window. An error fails the bundle.
type TimerHandler interface {
	OnTimer(ctx *Context, timer Fired) error
}

// Expirer handles the end of a window of a key that kept something: the last chance to read it. An error fails the bundle.
type Expirer interface{ OnWindowExpiration(ctx *Context) error }

// RegisterDoFn gives the component a DoFn under a name. Its type parameters follow from the function: `RegisterDoFn("split", &Split{})`.
func RegisterDoFn[In any, F DoFn[In]](name string, function F) {
	host.Functions = append(host.Functions, DoFnOf[In](name, function))
}

// DoFnOf is a DoFn under a name. It is for package thalwegtest.
func DoFnOf[In any, F DoFn[In]](name string, function F) host.Function {
	in, d := coder.Of[In](), bind(fresh(function), nil)
	rest := `"kind":"dofn","input":` + in.JSON + list("outputs", d.outputs)
	rest += list("slots", d.slots) + list("timers", d.timers) + list("side_inputs", d.sides) + list("tables", d.tables)
	rest += `,"pages":["values"]`
	if _, is := any(function).(Expirer); is {
		rest += `,"on_window_expiration":true`
	}
	if _, is := any(function).(Bundler); is {
		rest += `,"bundles":true`
	}
	return host.Function{Name: name, JSON: entry(name, rest+capabilities(function)), First: d.first, Open: func(config []byte, h host.Host) (host.Instance, error) {
		made := fresh(function)
		r := &dofn[In]{function: made, coder: in, ctx: newContext(h, d)}
		if _, is := any(function).(Expirer); is {
			r.ctx.keyed = true
		}
		if err := open(made, config, r.ctx); err != nil {
			return nil, err
		}
		return r, nil
	}}
}

func list(title string, entries []string) string {
	if len(entries) == 0 {
		return ""
	}
	return `,"` + title + `":[` + strings.Join(entries, ",") + "]"
}

// open reads the configuration into a copy of a function, binds its fields and lets it begin.
func open(function any, config []byte, ctx *Context) (err error) {
	defer recovered(&err)
	if len(config) > 0 {
		if wrong := json.Unmarshal(config, function); wrong != nil {
			return Fail("CONFIG", "the configuration is wrong: %v", wrong)
		}
	}
	bind(function, ctx)
	take(function)
	if opener, is := function.(Opener); is {
		return opener.Open()
	}
	return nil
}

// recovered makes an error of a panic.
func recovered(err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	if *err = codingFailure(cause); *err == nil {
		*err = host.Recovered(cause)
	}
}

// dofn is a DoFn that is open.
type dofn[In any] struct {
	function DoFn[In]
	coder    *coder.Coder
	ctx      *Context
	// The place where elements are read to: one that lived as long as a row would be garbage.
	element In
}

// Operations of a DoFn.
const (
	opProcess      = 0
	opStartBundle  = 1
	opFinishBundle = 2
)

func (r *dofn[In]) Call(op uint32, input []byte) (output []byte, err error) {
	defer recovered(&err)
	if err := r.ctx.begin(input); err != nil {
		return nil, err
	}
	bundler, bundles := any(r.function).(Bundler)
	switch {
	case op == opProcess:
		err = r.process()
	case op == opStartBundle && bundles:
		err = bundler.StartBundle(r.ctx)
	case op == opFinishBundle && bundles:
		err = bundler.FinishBundle(r.ctx)
	default:
		err = host.NoOperation("DoFn", op)
	}
	if err != nil {
		return nil, err
	}
	return r.ctx.finish(), nil
}

func (r *dofn[In]) process() error {
	for next := 0; next < r.ctx.in.Rows; {
		var err error
		if next, err = r.rows(next); err != nil {
			return err
		}
	}
	return nil
}

// rows runs rows from one on, and gives the one to go on with. What cannot be decoded or encoded in the middle of a row fails that row; other panics go on.
// There is one recovery for many rows, as it costs more than a small row does.
func (r *dofn[In]) rows(first int) (row int, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			wrong := codingFailure(cause)
			if wrong == nil {
				panic(cause)
			}
			r.ctx.fail(wrong)
			row++
		}
	}()
	for row = first; row < r.ctx.in.Rows; row++ {
		key, value, err := r.ctx.in.Element(row)
		if err != nil {
			return row, host.BadFrame("input frame")
		}
		r.ctx.enter(row)
		r.ctx.key = key
		if err := r.row(row, key, value); err != nil {
			r.ctx.fail(err)
		}
	}
	return row, nil
}

func (r *dofn[In]) row(row int, key, value []byte) error {
	switch kind := r.ctx.in.KindOf(row); kind {
	case 0:
		if err := coder.Read(r.coder, key, value, &r.element); err != nil {
			return decodeFailure(err)
		}
		if token := r.ctx.in.RestOf(row); token != nil {
			if err := coder.Extend(r.coder, &r.element, coder.Rest{Token: token, Read: r.ctx.page}); err != nil {
				return decodeFailure(err)
			}
		}
		return r.function.Process(r.ctx, r.element)
	case frame.Expires:
		if expirer, is := r.function.(Expirer); is {
			return expirer.OnWindowExpiration(r.ctx)
		}
	default:
		if handler, is := r.function.(TimerHandler); is {
			return handler.OnTimer(r.ctx, Fired{uint32(kind) - 1, string(value), r.ctx.in.FireOf(row)})
		}
	}
	return nil
}

func (r *dofn[In]) Close() {
	if closer, is := r.function.(Closer); is {
		closer.Close()
	}
}
