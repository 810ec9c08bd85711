package thalweg

import (
	"iter"
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// question is a side input, a window set and perhaps a key, or a table and a key.
type question struct {
	what, windows uint32
	key           string
	keyed, keys   bool
}

// reads is what was read in a call.
type reads struct {
	sides  map[question][][]byte
	tables map[question]fetched
}

func (r *reads) begin() {
	if r.sides == nil {
		r.sides, r.tables = map[question][][]byte{}, map[question]fetched{}
	}
	clear(r.sides)
	clear(r.tables)
}

// pages gives all pages of a side input.
func (r *reads) pages(q question, read func(start []byte) host.Page) [][]byte {
	pages, known := r.sides[q]
	if known {
		return pages
	}
	for start := []byte(nil); ; {
		page := read(start)
		pages = append(pages, page.Rows)
		if start = page.Next; start == nil {
			r.sides[q] = pages
			return pages
		}
	}
}

// elements decodes the rows of pages. One that is not of its type fails the element that reads it.
func elements[T any](c *coder.Coder, pages [][]byte) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, page := range pages {
			var rows frame.Input
			must(0, rows.Parse(page))
			for row := range rows.Rows {
				key, value, err := rows.Element(row)
				must(0, err)
				if !yield(must(coder.Columns[T](c, key, value))) {
					return
				}
			}
		}
	}
}

// side is what side inputs have in common.
type side struct {
	ctx   *Context
	index uint32
}

func (s *side) bindSide(ctx *Context, name, access string, c *coder.Coder, to *description) {
	*s = side{ctx, uint32(len(to.sides))}
	to.sides = append(to.sides, entry(name, `"access":"`+access+`","coder":`+c.JSON))
}

// SideList is a field that names a side input which is read as a list.
type SideList[T any] struct {
	side
	coder *coder.Coder
}

func (s *SideList[T]) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	s.coder = coder.Of[T]()
	s.bindSide(ctx, name, "iterable", s.coder, to)
}

// All gives the elements in the element's window.
func (s *SideList[T]) All() iter.Seq[T] {
	q := question{what: s.index, windows: s.ctx.windowSet}
	pages := s.ctx.reads.pages(q, func(start []byte) host.Page { return s.ctx.host.Side(s.index, q.windows, nil, start) })
	return elements[T](s.coder, pages)
}

// SideMultimap is a field that names a side input which is read by key.
type SideMultimap[K, V any] struct {
	side
	key, value *coder.Coder
}

func (s *SideMultimap[K, V]) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	s.key, s.value = coder.Of[K](), coder.Of[V]()
	s.bindSide(ctx, name, "multimap", coder.Of[KV[K, V]](), to)
}

// Get gives the values of a key in the element's window.
func (s *SideMultimap[K, V]) Get(key K) iter.Seq[V] {
	encoded := coder.Append(s.key, nil, &key, true)
	q := question{what: s.index, windows: s.ctx.windowSet, key: string(encoded), keyed: true}
	pages := s.ctx.reads.pages(q, func(start []byte) host.Page { return s.ctx.host.Side(s.index, q.windows, &encoded, start) })
	return elements[V](s.value, pages)
}

// Keys gives the keys in the element's window.
func (s *SideMultimap[K, V]) Keys() iter.Seq[K] {
	q := question{what: s.index, windows: s.ctx.windowSet, keys: true}
	pages := s.ctx.reads.pages(q, func(start []byte) host.Page { return s.ctx.host.SideKeys(s.index, q.windows, start) })
	return elements[K](s.key, pages)
}

// Table is a field that names a table, whose entries change while the job runs. With `thalweg:"name,joined"` it is looked up by the element's key, and
// what it has arrives with the batch.
type Table[K, V any] struct {
	ctx        *Context
	index      uint32
	key, value *coder.Coder
}

func (t *Table[K, V]) bind(ctx *Context, name string, options []string, to *description) {
	*t = Table[K, V]{ctx, uint32(len(to.tables)), coder.Of[K](), coder.Of[V]()}
	lookup := "none"
	if has(options, "joined") {
		lookup, to.declared = "key", true
	}
	to.tables = append(to.tables, entry(name, `"key":`+t.key.JSON+`,"value":`+t.value.JSON+`,"lookup":"`+lookup+`"`))
}

// Joined gives what the table has for the element's key, if it is declared as joined.
func (t *Table[K, V]) Joined() (value V, ok bool) {
	for _, table := range t.ctx.in.Tables {
		if table.First == t.index {
			if found, present := table.Present(int(t.ctx.row)); present {
				return must(coder.Outer[V](t.value, found)), true
			}
		}
	}
	return value, false
}

// Prefetch asks for several keys in one call to the host, for lookups that follow.
func (t *Table[K, V]) Prefetch(keys ...K) {
	var wanted []string
	for _, key := range keys {
		encoded := string(coder.Append(t.key, nil, &key, true))
		if _, known := t.ctx.reads.tables[question{what: t.index, key: encoded}]; !known {
			wanted = append(wanted, encoded)
		}
	}
	if len(wanted) == 0 {
		return
	}
	answer := t.ctx.host.Table(t.index, questions(0, wanted))
	answers, _ := frame.Answers(frame.Find(answer, frame.Subcells))
	for i, key := range wanted {
		found, present := answers.Present(i)
		t.ctx.reads.tables[question{what: t.index, key: key}] = fetched{string(found), present}
	}
}

// Lookup gives what the table has for a key. It may wait for the table.
func (t *Table[K, V]) Lookup(key K) (value V, ok bool) {
	t.Prefetch(key)
	encoded := string(coder.Append(t.key, nil, &key, true))
	found := t.ctx.reads.tables[question{what: t.index, key: encoded}]
	if !found.present {
		return value, false
	}
	return must(coder.Outer[V](t.value, []byte(found.bytes))), true
}
