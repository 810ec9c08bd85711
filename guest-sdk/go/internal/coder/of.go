package coder

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"unicode/utf8"
	"unsafe"
)

// own is a type that knows its coder.
type own interface{ coder() *Coder }

// Of gives the coder of a type. It panics with a sentence if the type has none: that is a mistake in the program, and shows at its start.
func Of[T any]() *Coder { return of(reflect.TypeFor[T]()) }

func of(t reflect.Type) *Coder {
	if known, is := reflect.Zero(t).Interface().(own); is {
		return known.coder()
	}
	switch t.Kind() {
	case reflect.String:
		return text
	case reflect.Bool:
		return boolean
	case reflect.Int, reflect.Int64:
		return varint
	case reflect.Float64:
		return float
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return octets
		}
		return iterable(t)
	case reflect.Pointer:
		return nullable(t)
	case reflect.Struct:
		return row(t)
	}
	panic(fmt.Sprintf("thalweg: the type %v has no coder", t))
}

func simple(urn string) string { return `{"urn":"beam:coder:` + urn + `:v1"}` }

// URN of a coder with components.
func composed(urn string, components ...*Coder) string {
	json := `{"urn":"beam:coder:` + urn + `:v1","components":[`
	for i, component := range components {
		if i > 0 {
			json += ","
		}
		json += component.JSON
	}
	return json + "]}"
}

var text = &Coder{
	JSON:  simple("string_utf8"),
	field: "string",
	encode: func(out []byte, at unsafe.Pointer, outer bool) []byte {
		value := *(*string)(at)
		if !utf8.ValidString(value) {
			panic(Unfit(fmt.Sprintf("a string of UTF-8 is wanted, and not %.80q", value)))
		}
		if outer {
			return append(out, value...)
		}
		return appendPrefixed(out, value)
	},
	decode: func(in []byte, at unsafe.Pointer, outer bool) ([]byte, error) {
		found, rest, err := prefixed(in, outer)
		if err == nil && !utf8.Valid(found) {
			err = Malformed("UTF-8")
		}
		*(*string)(at) = string(found)
		return rest, err
	},
}

var octets = &Coder{
	JSON:  simple("bytes"),
	field: "bytes",
	encode: func(out []byte, at unsafe.Pointer, outer bool) []byte {
		value := *(*[]byte)(at)
		if !outer {
			out = AppendVarint(out, uint64(len(value)))
		}
		return append(out, value...)
	},
	decode: func(in []byte, at unsafe.Pointer, outer bool) ([]byte, error) {
		found, rest, err := prefixed(in, outer)
		*(*[]byte)(at) = append([]byte(nil), found...)
		return rest, err
	},
}

var boolean = &Coder{
	JSON:  simple("bool"),
	field: "boolean",
	encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
		if *(*bool)(at) {
			return append(out, 1)
		}
		return append(out, 0)
	},
	decode: func(in []byte, at unsafe.Pointer, _ bool) ([]byte, error) {
		if len(in) == 0 || in[0] > 1 {
			return nil, Malformed("a bool")
		}
		*(*bool)(at) = in[0] == 1
		return in[1:], nil
	},
}

var varint = &Coder{
	JSON:  simple("varint"),
	field: "int64",
	encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
		return AppendVarint(out, uint64(*(*int64)(at)))
	},
	decode: func(in []byte, at unsafe.Pointer, _ bool) ([]byte, error) {
		n, rest, err := Varint(in)
		*(*int64)(at) = int64(n)
		return rest, err
	},
}

var float = &Coder{
	JSON:  simple("double"),
	field: "double",
	encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
		return appendDouble(out, *(*float64)(at))
	},
	decode: func(in []byte, at unsafe.Pointer, _ bool) (rest []byte, err error) {
		*(*float64)(at), rest, err = double(in)
		return rest, err
	},
}

// Types that only fields of rows have.

var small = &Coder{
	field: "int32",
	// a negative one has five bytes
	encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
		return AppendVarint(out, uint64(uint32(*(*int32)(at))))
	},
	decode: func(in []byte, at unsafe.Pointer, _ bool) ([]byte, error) {
		n, rest, err := Varint(in)
		*(*int32)(at) = int32(n)
		return rest, err
	},
}

var short = &Coder{
	field: "int16",
	encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
		return binary.BigEndian.AppendUint16(out, uint16(*(*int16)(at)))
	},
	decode: func(in []byte, at unsafe.Pointer, _ bool) ([]byte, error) {
		if len(in) < 2 {
			return nil, Malformed("an int16")
		}
		*(*int16)(at) = int16(binary.BigEndian.Uint16(in))
		return in[2:], nil
	},
}

var single = &Coder{
	field: "byte",
	encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
		return append(out, *(*byte)(at))
	},
	decode: func(in []byte, at unsafe.Pointer, _ bool) ([]byte, error) {
		if len(in) == 0 {
			return nil, Malformed("a byte")
		}
		*(*byte)(at) = in[0]
		return in[1:], nil
	},
}

var half = &Coder{
	field: "float",
	encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
		return binary.BigEndian.AppendUint32(out, math.Float32bits(*(*float32)(at)))
	},
	decode: func(in []byte, at unsafe.Pointer, _ bool) ([]byte, error) {
		if len(in) < 4 {
			return nil, Malformed("a float of 4 bytes")
		}
		*(*float32)(at) = math.Float32frombits(binary.BigEndian.Uint32(in))
		return in[4:], nil
	},
}

// nullable is the coder of a pointer.
func nullable(t reflect.Type) *Coder {
	inner := of(t.Elem())
	return &Coder{
		JSON: composed("nullable", inner),
		encode: func(out []byte, at unsafe.Pointer, outer bool) []byte {
			to := *(*unsafe.Pointer)(at)
			if to == nil {
				return append(out, 0)
			}
			return inner.encode(append(out, 1), to, outer)
		},
		decode: func(in []byte, at unsafe.Pointer, outer bool) ([]byte, error) {
			if len(in) == 0 || in[0] > 1 {
				return nil, Malformed("a nullable value")
			}
			*(*unsafe.Pointer)(at) = nil
			if in[0] == 0 {
				return in[1:], nil
			}
			value := reflect.New(t.Elem())
			*(*unsafe.Pointer)(at) = value.UnsafePointer()
			return inner.decode(in[1:], value.UnsafePointer(), outer)
		},
	}
}

// iterable is the coder of a slice.
func iterable(t reflect.Type) *Coder {
	inner := of(t.Elem())
	return &Coder{
		JSON: composed("iterable", inner),
		more: moreOfSlice(t, inner),
		skip: func(in []byte) ([]byte, error) { return inner.decode(in, reflect.New(t.Elem()).UnsafePointer(), false) },
		encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
			all := reflect.NewAt(t, at).Elem()
			out = binary.BigEndian.AppendUint32(out, uint32(all.Len()))
			for i := range all.Len() {
				out = inner.encode(out, all.Index(i).Addr().UnsafePointer(), false)
			}
			return out
		},
		decode: func(in []byte, at unsafe.Pointer, _ bool) ([]byte, error) {
			all := reflect.NewAt(t, at).Elem()
			all.SetZero()
			walk := walk{rest: in}
			for {
				in, more, err := walk.next()
				if err != nil || !more {
					return walk.rest, err
				}
				n := all.Len()
				all.Grow(1)
				all.SetLen(n + 1)
				if walk.rest, err = inner.decode(in, all.Index(n).Addr().UnsafePointer(), false); err != nil {
					return nil, err
				}
			}
		},
	}
}

// walk goes over the elements of an iterable, which has a count in front, or comes in counted blocks.
type walk struct {
	rest    []byte
	left    uint64
	started bool
	blocks  bool
}

// next gives the place where an element begins; who takes it sets rest to what is behind it.
func (w *walk) next() ([]byte, bool, error) {
	if !w.started {
		if len(w.rest) < 4 {
			return nil, false, Malformed("an iterable")
		}
		count := int32(binary.BigEndian.Uint32(w.rest))
		w.rest, w.started, w.blocks = w.rest[4:], true, count < 0
		w.left = uint64(max(count, 0))
	}
	if w.left == 0 && w.blocks {
		var err error
		if w.left, w.rest, err = Varint(w.rest); err != nil {
			return nil, false, err
		}
		w.blocks = w.left > 0
	}
	if w.left == 0 {
		return nil, false, nil
	}
	w.left--
	return w.rest, true, nil
}
