package coder

import (
	"encoding/json"
	"iter"
	"unicode/utf8"
	"unsafe"
)

// KV is a key and a value: `beam:coder:kv:v1`.
type KV[K, V any] struct {
	Key   K
	Value V
}

func (KV[K, V]) coder() *Coder {
	var kv KV[K, V]
	key, value := Of[K](), Of[V]()
	var more func(unsafe.Pointer, Rest) error
	if value.more != nil {
		more = func(at unsafe.Pointer, rest Rest) error {
			return value.more(unsafe.Pointer(&(*KV[K, V])(at).Value), rest)
		}
	}
	return &Coder{
		JSON: composed("kv", key, value),
		IsKV: true,
		more: more,
		encode: func(out []byte, at unsafe.Pointer, outer bool) []byte {
			kv := (*KV[K, V])(at)
			out = key.encode(out, unsafe.Pointer(&kv.Key), false)
			return value.encode(out, unsafe.Pointer(&kv.Value), outer)
		},
		decode: func(in []byte, at unsafe.Pointer, outer bool) ([]byte, error) {
			kv := (*KV[K, V])(at)
			in, err := key.decode(in, unsafe.Pointer(&kv.Key), false)
			if err != nil {
				return nil, err
			}
			return value.decode(in, unsafe.Pointer(&kv.Value), outer)
		},
		key: key, value: value,
		keyAt: unsafe.Offsetof(kv.Key), valueAt: unsafe.Offsetof(kv.Value),
	}
}

// JSON is a value that travels as the text that encoding/json makes of it: `beam:coder:string_utf8:v1`.
type JSON[T any] struct{ Value T }

func (JSON[T]) coder() *Coder {
	return &Coder{
		JSON: text.JSON,
		encode: func(out []byte, at unsafe.Pointer, outer bool) []byte {
			document, err := json.Marshal((*JSON[T])(at).Value)
			if err != nil {
				panic(err) // a type that has no JSON: a mistake in the program
			}
			if !outer {
				out = AppendVarint(out, uint64(len(document)))
			}
			return append(out, document...)
		},
		decode: func(in []byte, at unsafe.Pointer, outer bool) ([]byte, error) {
			found, rest, err := prefixed(in, outer)
			if err == nil && !utf8.Valid(found) {
				err = Malformed("UTF-8")
			}
			if err == nil {
				if wrong := json.Unmarshal(found, &(*JSON[T])(at).Value); wrong != nil {
					err = Malformed("JSON of its type: " + wrong.Error())
				}
			}
			return rest, err
		},
	}
}

// Iter is any number of values, decoded one by one: `beam:coder:iterable:v1`. Many values come by page, and only one page is held. It is good for
// the call it came with.
type Iter[T any] struct {
	inner *Coder
	bytes []byte
	rest  Rest
}

// IterOf is these values, for an output or a test.
func IterOf[T any](values ...T) Iter[T] {
	inner := Of[T]()
	return Iter[T]{inner: inner, bytes: Append(Of[[]T](), nil, &values, true)}
}

// All gives the values in their order, as often as it is called. One that is not of the type ends them, as an error.
func (i Iter[T]) All() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if i.inner == nil {
			return
		}
		ended := false
		i.first(func(value T, err error) bool {
			ended = !yield(value, err) || err != nil
			return !ended
		})
		if ended {
			return
		}
		err := i.rest.each(func(in []byte) ([]byte, bool, error) {
			value, rest, err := Nested[T](i.inner, in)
			return rest, err == nil && yield(value, nil), err
		})
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

// first gives the values that are here.
func (i Iter[T]) first(yield func(T, error) bool) {
	walk := walk{rest: i.bytes}
	for {
		in, more, err := walk.next()
		var value T
		if more {
			value, walk.rest, err = Nested[T](i.inner, in)
		}
		if err != nil {
			yield(value, err)
			return
		}
		if !more || !yield(value, nil) {
			return
		}
	}
}

func (Iter[T]) coder() *Coder {
	inner := Of[T]()
	return &Coder{
		JSON: composed("iterable", inner),
		more: func(at unsafe.Pointer, rest Rest) error {
			(*Iter[T])(at).rest = rest
			return nil
		},
		skip: func(in []byte) ([]byte, error) {
			_, rest, err := Nested[T](inner, in)
			return rest, err
		},
		encode: func(out []byte, at unsafe.Pointer, _ bool) []byte {
			values := []T{}
			for value, err := range (*Iter[T])(at).All() {
				if err == nil {
					values = append(values, value)
				}
			}
			return Append(Of[[]T](), out, &values, true)
		},
		decode: func(in []byte, at unsafe.Pointer, outer bool) ([]byte, error) {
			*(*Iter[T])(at) = Iter[T]{inner: inner, bytes: in}
			if outer {
				return nil, nil
			}
			walk := walk{rest: in}
			for {
				in, more, err := walk.next()
				if err != nil || !more {
					return walk.rest, err
				}
				if _, walk.rest, err = Nested[T](inner, in); err != nil {
					return nil, err
				}
			}
		},
	}
}
