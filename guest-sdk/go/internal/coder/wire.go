// Package coder has the bytes of Beam's standard coders for Go's types. A coder is made of a type once, by reflection, and then
// reads and writes values at their address without it.
//
// An encoding is *outer* when its length is known from outside, and *nested* inside something else.
//
// Source: `beam:coder:*:v1`.
package coder

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Malformed says what some bytes are not.
type Malformed string

func (m Malformed) Error() string { return "the encoded value is not " + string(m) }

// Unfit is the panic of a value that its coder cannot encode: an encoder has no other way out.
type Unfit string

func (u Unfit) Error() string { return string(u) }

// AppendVarint appends a number: seven bits a byte, the lowest first.
func AppendVarint(out []byte, n uint64) []byte { return binary.AppendUvarint(out, n) }

// Varint takes a number off the front.
func Varint(in []byte) (uint64, []byte, error) {
	n, size := binary.Uvarint(in)
	if size <= 0 {
		return 0, nil, Malformed("a varint")
	}
	return n, in[size:], nil
}

func appendPrefixed(out []byte, text string) []byte {
	return append(AppendVarint(out, uint64(len(text))), text...)
}

// prefixed takes a length and that many bytes off the front; the whole of an outer encoding.
func prefixed(in []byte, outer bool) (bytes, rest []byte, err error) {
	if outer {
		return in, nil, nil
	}
	length, rest, err := Varint(in)
	if err != nil || length > uint64(len(rest)) {
		return nil, nil, Malformed("long enough")
	}
	return rest[:length], rest[length:], nil
}

// Coder reads and writes the values of one type.
type Coder struct {
	// JSON is the coder in a description.
	JSON string
	// IsKV says whether key and value stand in columns of their own.
	IsKV bool
	// name of the type as the field of a row; empty if it cannot be one.
	field  string
	encode func(out []byte, at unsafe.Pointer, outer bool) []byte
	decode func(in []byte, at unsafe.Pointer, outer bool) ([]byte, error)
	// more adds what follows in a list; nil for what is none.
	more func(at unsafe.Pointer, rest Rest) error
	// skip gives what is behind an element of a list; nil for what is none.
	skip func(in []byte) ([]byte, error)
	// Of a KV.
	key, value     *Coder
	keyAt, valueAt uintptr
}

// Append appends the encoding of a value.
func Append[T any](c *Coder, out []byte, value *T, outer bool) []byte {
	return c.encode(out, unsafe.Pointer(value), outer)
}

// Outer reads a value whose encoding ends where the bytes end.
func Outer[T any](c *Coder, in []byte) (value T, err error) {
	rest, err := c.decode(in, unsafe.Pointer(&value), true)
	if err == nil && len(rest) > 0 {
		err = Malformed("the end of a value")
	}
	return value, err
}

// Nested takes a value off the front.
func Nested[T any](c *Coder, in []byte) (value T, rest []byte, err error) {
	rest, err = c.decode(in, unsafe.Pointer(&value), false)
	return value, rest, err
}

// AppendColumns appends key and value of an element, and gives the place where the value begins.
func AppendColumns[T any](c *Coder, out []byte, element *T) (all []byte, middle int) {
	at := unsafe.Pointer(element)
	if !c.IsKV {
		return c.encode(out, at, true), len(out)
	}
	out = c.key.encode(out, unsafe.Add(at, c.keyAt), true)
	middle = len(out)
	return c.value.encode(out, unsafe.Add(at, c.valueAt), true), middle
}

// Columns reads an element from its two columns.
func Columns[T any](c *Coder, key, value []byte) (element T, err error) {
	err = Read(c, key, value, &element)
	return element, err
}

// Read reads an element from its two columns to a place, whose old value is gone.
func Read[T any](c *Coder, key, value []byte, element *T) error {
	var none T
	*element = none
	at := unsafe.Pointer(element)
	var rest []byte
	var err error
	if !c.IsKV {
		rest, err = c.decode(value, at, true)
	} else if rest, err = c.key.decode(key, unsafe.Add(at, c.keyAt), true); err == nil && len(rest) == 0 {
		rest, err = c.value.decode(value, unsafe.Add(at, c.valueAt), true)
	}
	if err == nil && len(rest) > 0 {
		err = Malformed("the end of a value")
	}
	return err
}

func appendDouble(out []byte, n float64) []byte {
	return binary.BigEndian.AppendUint64(out, math.Float64bits(n))
}

func double(in []byte) (float64, []byte, error) {
	if len(in) < 8 {
		return 0, nil, Malformed("a double of 8 bytes")
	}
	return math.Float64frombits(binary.BigEndian.Uint64(in)), in[8:], nil
}
