package thalweg

import "thalweg/internal/frame"

const (
	kindCounter      = 0
	kindDistribution = 1
)

// delta is what the current call added to one metric.
type delta struct {
	kind    uint32
	name    string
	touched bool
	values  [4]int64
}

// metrics are those of an instance, in the order of the fields. They count attempts: what a failed element counted stays counted.
type metrics []*delta

func (m *metrics) add(kind uint32, name string) *delta {
	*m = append(*m, &delta{kind: kind, name: name})
	return (*m)[len(*m)-1]
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
		delta.touched, delta.values = false, [4]int64{}
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
		c.delta = ctx.metrics.add(kindCounter, name)
	}
}

// Add adds to the counter.
func (c *Counter) Add(n int64) {
	c.delta.touched = true
	c.delta.values[0] += n
}

// Distribution is a field that names count, sum, minimum and maximum of values.
type Distribution struct{ delta *delta }

func (d *Distribution) bind(ctx *Context, name string, options []string, _ *description) {
	has(options, "")
	if ctx != nil {
		d.delta = ctx.metrics.add(kindDistribution, name)
	}
}

// Report adds a value.
func (d *Distribution) Report(value int64) {
	v := &d.delta.values
	if d.delta.touched {
		*v = [4]int64{v[0] + 1, v[1] + value, min(v[2], value), max(v[3], value)}
	} else {
		*v = [4]int64{1, value, value, value}
	}
	d.delta.touched = true
}
