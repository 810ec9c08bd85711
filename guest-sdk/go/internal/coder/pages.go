package coder

import (
	"encoding/binary"
	"reflect"
	"unsafe"
)

// Rest is what follows in a list whose beginning alone is here: the token of the page behind it, and what reads the page of a token. A page is
// elements, nested, and the token of the page behind it, which is nil at the end.
type Rest struct {
	Token []byte
	Read  func(token []byte) (page, next []byte, err error)
}

// each gives the elements of the pages, by the place where one begins; take says what is behind it.
func (r Rest) each(take func(in []byte) (rest []byte, more bool, err error)) error {
	for token := r.Token; token != nil; {
		page, next, err := r.Read(token)
		if err != nil {
			return err
		}
		for len(page) > 0 {
			rest, more, err := take(page)
			if err != nil || !more {
				return err
			}
			if len(rest) == len(page) {
				return Malformed("a page of elements")
			}
			page = rest
		}
		token = next
	}
	return nil
}

// Extend tells a value that was read from its columns where its list goes on. A slice takes all of it, an [Iter] reads it when it gets there.
func Extend[T any](c *Coder, element *T, rest Rest) error {
	if c.more == nil {
		return Malformed("a list")
	}
	return c.more(unsafe.Pointer(element), rest)
}

// moreOfSlice adds all elements that follow to a slice.
func moreOfSlice(t reflect.Type, inner *Coder) func(unsafe.Pointer, Rest) error {
	return func(at unsafe.Pointer, rest Rest) error {
		all := reflect.NewAt(t, at).Elem()
		return rest.each(func(in []byte) ([]byte, bool, error) {
			n := all.Len()
			all.Grow(1)
			all.SetLen(n + 1)
			behind, err := inner.decode(in, all.Index(n).Addr().UnsafePointer(), false)
			return behind, true, err
		})
	}
}

// Parts cuts the encoding of a list, or of the value of a KV that is one, into parts of about so many bytes: the first one is a list of its own, the
// others are elements. What is no list has none. It is for package thalwegtest.
func Parts(c *Coder, encoded []byte, most int) [][]byte {
	if c.IsKV {
		c = c.value
	}
	if c.skip == nil {
		return nil
	}
	parts := [][]byte{make([]byte, 4)}
	count := uint32(0)
	for walk := (walk{rest: encoded}); ; {
		in, more, err := walk.next()
		if err != nil || !more {
			binary.BigEndian.PutUint32(parts[0], count)
			return parts
		}
		if walk.rest, err = c.skip(in); err != nil {
			return nil
		}
		if last := parts[len(parts)-1]; len(last) >= most {
			parts = append(parts, nil)
		}
		if len(parts) == 1 {
			count++
		}
		at := len(parts) - 1
		parts[at] = append(parts[at], in[:len(in)-len(walk.rest)]...)
	}
}
