package thalweg

import (
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// CombineFn sums up the values of a key, in any order and in parts. I are the values, A what is known of them so far, O the result. The methods of
// [Opener] and [Compacter] are called if it has them. An accumulator that is given to a method may be changed.
type CombineFn[I, A, O any] interface {
	// CreateAccumulator gives the accumulator of no values.
	CreateAccumulator() A
	// AddInput adds a value. A value that cannot be added fails the bundle.
	AddInput(accumulator A, value I) (A, error)
	// MergeAccumulators makes one accumulator of two.
	MergeAccumulators(a, b A) A
	// ExtractOutput gives the result.
	ExtractOutput(accumulator A) O
}

// Compacter gives an accumulator that means the same and is smaller, before it is stored or sent.
type Compacter[A any] interface{ Compact(accumulator A) A }

// RegisterCombineFn gives the component a CombineFn under a name. Its type parameters follow from the function.
func RegisterCombineFn[I, A, O any, F CombineFn[I, A, O]](name string, function F) {
	host.Functions = append(host.Functions, CombineFnOf[I, A, O](name, function))
}

// CombineFnOf is a CombineFn under a name. It is for package thalwegtest.
func CombineFnOf[I, A, O any, F CombineFn[I, A, O]](name string, function F) host.Function {
	c := combine[I, A, O]{in: coder.Of[I](), accumulator: coder.Of[A](), out: coder.Of[O]()}
	noMembers(function)
	rest := `"kind":"combinefn","input":` + c.in.JSON + `,"accumulator":` + c.accumulator.JSON
	rest += `,"outputs":[` + entry("main", `"coder":`+c.out.JSON) + "]"
	return host.Function{Name: name, JSON: entry(name, rest+capabilities(function)), Open: func(config []byte, h host.Host) (host.Instance, error) {
		made := fresh(function)
		opened := c
		opened.fn, opened.host = made, h
		if err := open(made, config, newContext(h, &description{})); err != nil {
			return nil, err
		}
		return &opened, nil
	}}
}

// combine is a CombineFn that is open.
type combine[I, A, O any] struct {
	fn                   CombineFn[I, A, O]
	host                 host.Host
	in, accumulator, out *coder.Coder
	input                frame.Input
	values               values
}

// values are output rows that have values alone, and the rows that failed.
type values struct {
	ranges, arena, buffer []byte
	count                 int
	failed                failed
}

func (v *values) begin() {
	*v = values{ranges: v.ranges[:0], arena: v.arena[:0], buffer: v.buffer}
}

// end ends a value that was appended to the arena from a place on.
func (v *values) end(start int) {
	v.ranges = frame.Range(v.ranges, start, v.arena)
	v.count++
}

func (v *values) finish() []byte {
	w := frame.Start(v.buffer, v.count)
	w.Section(frame.Value, v.ranges)
	w.Section(frame.Arena, v.arena)
	v.failed.finish(&w)
	v.buffer = w.Bytes()
	return v.buffer
}

// Operations of a CombineFn.
const (
	opAddInput = 16
	opMerge    = 17
	opExtract  = 18
	opCompact  = 19
)

func (c *combine[I, A, O]) Call(op uint32, input []byte) (output []byte, err error) {
	defer recovered(&err)
	if c.input.Parse(input) != nil {
		return nil, host.BadFrame("input frame")
	}
	c.host.Moment(c.input.Now, c.input.Seed)
	c.values.begin()
	switch op {
	case opAddInput:
		err = c.groups(func(accumulator A, bytes []byte) (A, error) {
			value, err := coder.Outer[I](c.in, bytes)
			if err != nil {
				return accumulator, decodeFailure(err)
			}
			return c.fn.AddInput(accumulator, value)
		})
	case opMerge:
		err = c.groups(func(accumulator A, bytes []byte) (A, error) {
			other, err := coder.Outer[A](c.accumulator, bytes)
			if err != nil {
				return accumulator, decodeFailure(err)
			}
			return c.fn.MergeAccumulators(accumulator, other), nil
		})
	case opExtract, opCompact:
		err = c.each(op)
	default:
		err = host.NoOperation("CombineFn", op)
	}
	if err != nil {
		return nil, err
	}
	return c.values.finish(), nil
}

func (c *combine[I, A, O]) compact(accumulator A) A {
	if compacter, is := c.fn.(Compacter[A]); is {
		return compacter.Compact(accumulator)
	}
	return accumulator
}

// groups gives one accumulator per group.
func (c *combine[I, A, O]) groups(add func(A, []byte) (A, error)) error {
	next := 0
	for group := range c.input.GroupCount() {
		accumulator := c.fn.CreateAccumulator()
		for ; next < c.input.Rows && int(c.input.GroupOf(next)) == group; next++ {
			_, value, err := c.input.Element(next)
			if err != nil {
				return host.BadFrame("input frame")
			}
			if added, err := add(accumulator, value); err == nil {
				accumulator = added
			} else {
				c.values.failed.add(next, err)
			}
		}
		start := len(c.values.arena)
		accumulator = c.compact(accumulator)
		c.values.arena = coder.Append(c.accumulator, c.values.arena, &accumulator, true)
		c.values.end(start)
	}
	if next < c.input.Rows {
		return host.BadFrame("order of the rows")
	}
	return nil
}

// each gives one row per accumulator.
func (c *combine[I, A, O]) each(op uint32) error {
	for row := range c.input.Rows {
		_, value, err := c.input.Element(row)
		if err != nil {
			return host.BadFrame("input frame")
		}
		start := len(c.values.arena)
		accumulator, err := coder.Outer[A](c.accumulator, value)
		switch {
		case err != nil:
			c.values.failed.add(row, decodeFailure(err))
		case op == opExtract:
			result := c.fn.ExtractOutput(accumulator)
			c.values.arena = coder.Append(c.out, c.values.arena, &result, true)
		default:
			accumulator = c.compact(accumulator)
			c.values.arena = coder.Append(c.accumulator, c.values.arena, &accumulator, true)
		}
		c.values.end(start)
	}
	return nil
}

func (c *combine[I, A, O]) Close() {
	if closer, is := c.fn.(Closer); is {
		closer.Close()
	}
}
