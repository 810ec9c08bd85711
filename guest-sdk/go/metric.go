package thalweg

import "thalweg/internal/frame"

const (
	kindCounter      = 0
	kindDistribution = 1
)

// added is what a call added to a metric, if it did.
type added struct {
	touched bool
	values  [4]int64
}

// delta is what the current call added to one metric.
type delta struct {
	added
	kind uint32
	name string
	ctx  *Context
	// The row that changed it last, and what it was before that.
	row    int64
	before added
}

// change gives the values to change; what the row does can be taken back.
func (d *delta) change() *[4]int64 {
	if row := int64(d.ctx.row); d.row != row {
		d.row, d.before = row, d.added
	}
	d.touched = true
	return &d.values
}

// metrics are those of an instance, in the order of the fields.
type metrics []*delta

func (m *metrics) add(ctx *Context, kind uint32, name string) *delta {
	*m = append(*m, &delta{kind: kind, name: name, ctx: ctx})
	return (*m)[len(*m)-1]
}

// begin starts a call: what a failed one left is gone.
func (m metrics) begin() {
	for _, delta := range m {
		delta.added, delta.row = added{}, noRow
	}
}

// undo takes back what a row added.
func (m metrics) undo(row int64) {
	for _, delta := range m {
		if delta.row == row {
			delta.added, delta.row = delta.before, noRow
		}
	}
}

func (m metrics) finish(w *frame.Writer) {
	var entries, names []byte
	count := uint32(0)
	for _, delta := range m {
		if !delta.touched {
			continue
		}
		count++
		start := len(names)
		names = append(names, delta.name...)
		entries = frame.Pair(entries, delta.kind, 0)
		entries = frame.Range(entries, start, names)
		for _, value := range delta.values {
			entries = frame.Long(entries, value)
		}
	}
	if count > 0 {
		w.Entries(frame.Metrics, count, 0, entries, names)
	}
}

// Counter is a field that names a number that grows.
type Counter struct{ delta *delta }

func (c *Counter) bind(ctx *Context, name string, options []string, _ *description) {
	has(options, "")
	if ctx != nil {
		c.delta = ctx.metrics.add(ctx, kindCounter, name)
	}
}

// Add adds to the counter.
func (c *Counter) Add(n int64) {
	c.delta.change()[0] += n
}

// Distribution is a field that names count, sum, minimum and maximum of values.
type Distribution struct{ delta *delta }

func (d *Distribution) bind(ctx *Context, name string, options []string, _ *description) {
	has(options, "")
	if ctx != nil {
		d.delta = ctx.metrics.add(ctx, kindDistribution, name)
	}
}

// Report adds a value.
func (d *Distribution) Report(value int64) {
	v := d.delta.change()
	if v[0] == 0 {
		v[2], v[3] = value, value
	}
	*v = [4]int64{v[0] + 1, v[1] + value, min(v[2], value), max(v[3], value)}
}
