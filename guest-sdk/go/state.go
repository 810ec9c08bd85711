package thalweg

import (
	"encoding/binary"
	"iter"
	"slices"
	"thalweg/internal/coder"
	"thalweg/internal/frame"
)

// A state field belongs to the element's key and window. Changes leave with the result of the call. What is stored and not of the field's type fails the
// element that reads it.

// bindSlot adds a slot to the description. The key is the JSON of the coder of a map's keys, or empty.
func (d *description) bindSlot(name, kind, key string, c *coder.Coder, eager bool) int {
	rest := `"kind":"` + kind + `","coder":` + c.JSON
	if key != "" {
		rest += `,"key":` + key
	}
	if eager {
		rest += `,"eager":true`
	}
	d.slots = append(d.slots, entry(name, rest))
	d.eager = append(d.eager, eager)
	d.plain = append(d.plain, kind == "value" || kind == "bag")
	return len(d.slots) - 1
}

// nested decodes values that stand one behind the other.
func nested[T any](c *coder.Coder, parts ...[]byte) iter.Seq[T] {
	return decoded[T](c, slices.Values(parts))
}

// decoded decodes the values of parts, which stand one behind the other in each.
func decoded[T any](c *coder.Coder, parts iter.Seq[[]byte]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for rest := range parts {
			for len(rest) > 0 {
				value, behind, err := coder.Nested[T](c, rest)
				must(0, err)
				if rest = behind; !yield(value) {
					return
				}
			}
		}
	}
}

// plain is a slot of the kind value or bag.
type plain struct {
	ctx  *Context
	slot int
}

func (p plain) cells() *cells { return p.ctx.slots[p.slot].cells }

func (p plain) row() int64 { return int64(p.ctx.row) }

func (p plain) load() *cells {
	c := p.cells()
	if !c.over {
		c.load(p.slot, p.ctx.group, uint32(p.ctx.in.GroupCount()), p.ctx.host)
	}
	return c
}

// bytes gives the cell of a value.
func (p plain) bytes() []byte {
	c := p.load()
	if c.over {
		return c.new
	}
	return c.base
}

// Clear empties the slot.
func (p plain) Clear() { p.cells().empty(p.row()) }

// Value is a field that keeps one value or none. With `thalweg:"name,eager"` the values arrive with the batch, which is right for small ones that nearly
// every element needs; others are fetched when they are first needed, many keys at a time.
type Value[T any] struct {
	plain
	coder *coder.Coder
	// The place of the value that is written.
	value T
}

func (v *Value[T]) bind(ctx *Context, name string, options []string, to *description) {
	v.coder = coder.Of[T]()
	v.plain = plain{ctx, to.bindSlot(name, "value", "", v.coder, has(options, "eager"))}
}

// Get gives the value, if there is one.
func (v *Value[T]) Get() (value T, ok bool) {
	bytes := v.bytes()
	if len(bytes) == 0 {
		return value, false
	}
	value, _, err := coder.Nested[T](v.coder, bytes)
	return must(value, err), true
}

// Or gives the value, or another one if there is none.
func (v *Value[T]) Or(otherwise T) T {
	if value, ok := v.Get(); ok {
		return value
	}
	return otherwise
}

// Set replaces the value.
func (v *Value[T]) Set(value T) {
	c := v.cells()
	v.value = value
	c.new = coder.Append(v.coder, c.replace(v.row()), &v.value, false)
}

// Combining is a field that keeps an accumulator of a CombineFn; its values arrive with the batch or not as those of [Value].
type Combining[F CombineFn[I, A, O], I, A, O any] struct {
	Value[A]
	fn F
}

// Add adds a value to the accumulator.
func (c *Combining[F, I, A, O]) Add(value I) error {
	accumulator, err := c.fn.AddInput(c.accumulator(), value)
	if err == nil {
		c.Set(accumulator)
	}
	return err
}

func (c *Combining[F, I, A, O]) accumulator() A {
	if accumulator, ok := c.Value.Get(); ok {
		return accumulator
	}
	return c.fn.CreateAccumulator()
}

// Get gives what the accumulator comes to; that of no values if there is none.
func (c *Combining[F, I, A, O]) Get() O { return c.fn.ExtractOutput(c.accumulator()) }

// Bag is a field that keeps any number of values, in the order they were added. Adding does not read it.
type Bag[T any] struct {
	plain
	coder *coder.Coder
}

func (b *Bag[T]) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	b.coder = coder.Of[T]()
	b.plain = plain{ctx, to.bindSlot(name, "bag", "", b.coder, false)}
	to.first[b.slot] = func(values []byte) (int, error) {
		_, rest, err := coder.Nested[T](b.coder, values)
		return len(values) - len(rest), err
	}
}

// Add adds a value.
func (b *Bag[T]) Add(value T) {
	c := b.cells()
	c.touch(b.row())
	c.new = coder.Append(b.coder, c.new, &value, false)
}

// Walk gives the values in the order they were added, as they are when it is called, and holds one page of them in memory: it is right for a bag that
// may be large. It is good for the element that began it, which may write state on its way.
func (b *Bag[T]) Walk() iter.Seq[T] {
	c := b.cells()
	added := slices.Clone(c.new)
	switch {
	case c.over:
		return nested[T](b.coder, added)
	case c.loaded:
		return nested[T](b.coder, c.base, added)
	}
	return decoded[T](b.coder, b.pages(b.ctx.group, added))
}

// pages gives what the host has of the bag of a group, value by value, and what was added to it.
func (b *Bag[T]) pages(group uint32, added []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for start := []byte{}; start != nil; {
			page := b.ctx.host.Scan(uint32(b.slot), group, start, nil)
			var rows frame.Input
			must(0, rows.Parse(page.Rows))
			for row := range rows.Rows {
				_, value, err := rows.Element(row)
				if must(0, err); !yield(value) {
					return
				}
			}
			start = page.Next
		}
		yield(added)
	}
}

// All gives the values, and holds all of them in memory.
func (b *Bag[T]) All() iter.Seq[T] {
	c := b.load()
	if c.over {
		return nested[T](b.coder, c.new)
	}
	return nested[T](b.coder, c.base, c.new)
}

func outer[T any](c *coder.Coder, value T) string { return string(coder.Append(c, nil, &value, true)) }

func encodedNested[T any](c *coder.Coder, value T) []byte {
	return coder.Append(c, nil, &value, false)
}

// Clear empties the slot.
func (a at) Clear() { a.entries().clear(a.row()) }

func (a at) remove(subkey string) { a.entries().lay(a.row(), subkey, change{opRemove, ""}) }

// Map is a field that keeps a value per key.
type Map[K, V any] struct {
	at
	key, value *coder.Coder
}

func (m *Map[K, V]) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	m.key, m.value = coder.Of[K](), coder.Of[V]()
	m.at = at{ctx, to.bindSlot(name, "map", m.key.JSON, m.value, false)}
}

// Prefetch fetches the values of several keys in one call to the host.
func (m *Map[K, V]) Prefetch(keys ...K) {
	subkeys := make([]string, len(keys))
	for i, key := range keys {
		subkeys[i] = outer(m.key, key)
	}
	m.fetch(subkeys...)
}

// Get gives the value of a key, if there is one.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	stored, ok := m.get(outer(m.key, key))
	if !ok {
		return value, false
	}
	return must(coder.Outer[V](m.value, stored)), true
}

// Has says whether a key has a value.
func (m *Map[K, V]) Has(key K) bool {
	_, ok := m.get(outer(m.key, key))
	return ok
}

// Put gives a key a value.
func (m *Map[K, V]) Put(key K, value V) {
	m.entries().lay(m.row(), outer(m.key, key), change{opPut, outer(m.value, value)})
}

// Remove removes a key.
func (m *Map[K, V]) Remove(key K) { m.remove(outer(m.key, key)) }

// All gives all keys and values, in the order of the encoded keys.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	entries := m.scan("", nil)
	return func(yield func(K, V) bool) {
		for _, entry := range entries {
			if !yield(must(coder.Outer[K](m.key, []byte(entry.subkey))), must(coder.Outer[V](m.value, entry.bytes))) {
				return
			}
		}
	}
}

// Set is a field that keeps elements, each once.
type Set[T any] struct {
	at
	coder *coder.Coder
}

func (s *Set[T]) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	s.coder = coder.Of[T]()
	s.at = at{ctx, to.bindSlot(name, "set", "", s.coder, false)}
}

// Add adds an element.
func (s *Set[T]) Add(element T) { s.entries().lay(s.row(), outer(s.coder, element), change{opPut, ""}) }

// Remove removes an element.
func (s *Set[T]) Remove(element T) { s.remove(outer(s.coder, element)) }

// Has says whether an element is there.
func (s *Set[T]) Has(element T) bool {
	_, ok := s.get(outer(s.coder, element))
	return ok
}

// All gives the elements, in the order of their encodings.
func (s *Set[T]) All() iter.Seq[T] {
	entries := s.scan("", nil)
	return func(yield func(T) bool) {
		for _, entry := range entries {
			if !yield(must(coder.Outer[T](s.coder, []byte(entry.subkey)))) {
				return
			}
		}
	}
}

// Multimap is a field that keeps any number of values per key, in the order they were added.
type Multimap[K, V any] struct {
	at
	key, value *coder.Coder
}

func (m *Multimap[K, V]) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	m.key, m.value = coder.Of[K](), coder.Of[V]()
	m.at = at{ctx, to.bindSlot(name, "multimap", m.key.JSON, m.value, false)}
}

// Get gives the values of a key.
func (m *Multimap[K, V]) Get(key K) iter.Seq[V] {
	stored, _ := m.get(outer(m.key, key))
	return nested[V](m.value, stored)
}

// Add adds a value to a key.
func (m *Multimap[K, V]) Add(key K, value V) {
	m.entries().append(m.row(), outer(m.key, key), encodedNested(m.value, value))
}

// Remove removes a key with all its values.
func (m *Multimap[K, V]) Remove(key K) { m.remove(outer(m.key, key)) }

// All gives all keys with their values, in the order of the encoded keys.
func (m *Multimap[K, V]) All() iter.Seq2[K, iter.Seq[V]] {
	entries := m.scan("", nil)
	return func(yield func(K, iter.Seq[V]) bool) {
		for _, entry := range entries {
			if !yield(must(coder.Outer[K](m.key, []byte(entry.subkey))), nested[V](m.value, entry.bytes)) {
				return
			}
		}
	}
}

// OrderedList is a field that keeps values by time.
type OrderedList[T any] struct {
	at
	coder *coder.Coder
}

func (l *OrderedList[T]) bind(ctx *Context, name string, options []string, to *description) {
	has(options, "")
	l.coder = coder.Of[T]()
	l.at = at{ctx, to.bindSlot(name, "orderedlist", "", l.coder, false)}
}

// instant is a time as the key of an entry: its order is the order of time.
func instant(time EventTime) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(time)^1<<63))
}

// Add adds a value at a time.
func (l *OrderedList[T]) Add(time EventTime, value T) {
	l.entries().append(l.row(), instant(time), encodedNested(l.coder, value))
}

// Range gives the values from a time to before another, in the order of time, and of one time in the order they were added.
func (l *OrderedList[T]) Range(from, to EventTime) iter.Seq2[EventTime, T] {
	end := instant(to)
	return l.timed(l.scan(instant(from), &end))
}

// All gives all values.
func (l *OrderedList[T]) All() iter.Seq2[EventTime, T] { return l.timed(l.scan("", nil)) }

func (l *OrderedList[T]) timed(entries []pair) iter.Seq2[EventTime, T] {
	return func(yield func(EventTime, T) bool) {
		for _, entry := range entries {
			if len(entry.subkey) != 8 {
				must(0, coder.Malformed("a time"))
			}
			time := EventTime(binary.BigEndian.Uint64([]byte(entry.subkey)) ^ 1<<63)
			for value := range nested[T](l.coder, entry.bytes) {
				if !yield(time, value) {
					return
				}
			}
		}
	}
}

// RemoveRange removes the values from a time to before another.
func (l *OrderedList[T]) RemoveRange(from, to EventTime) {
	l.entries().removeRange(l.row(), instant(from), instant(to))
}
