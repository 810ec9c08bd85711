package thalweg

import (
	"fmt"
	"thalweg/internal/coder"
	"thalweg/internal/host"
	"time"
)

// KV is a key and a value: `beam:coder:kv:v1`.
//
// Other types travel as: string, []byte, bool, int and int64 (varint), float64; a struct as a row of its exported fields, named by their tag `beam`
// or `json`, nullable where they are pointers; a slice as an iterable; a pointer as a nullable value.
type KV[K, V any] = coder.KV[K, V]

// JSON is a value that travels as the text that encoding/json makes of it: `beam:coder:string_utf8:v1`.
type JSON[T any] = coder.JSON[T]

// Iter is any number of values that are decoded one by one: grouped values, `beam:coder:iterable:v1`. Where there are many, they come by page while
// [coder.Iter.All] goes over them, as often as one likes, and memory holds one page. A slice of them, in contrast, is read whole.
type Iter[T any] = coder.Iter[T]

// IterOf is these values, for an output or a test.
func IterOf[T any](values ...T) Iter[T] { return coder.IterOf(values...) }

// EventTime is when something happened, in milliseconds since 1970-01-01T00:00:00Z.
type EventTime int64

// At is a time as event time, without what is smaller than a millisecond.
func At(t time.Time) EventTime { return EventTime(t.UnixMilli()) }

// Time is the event time as time in UTC.
func (t EventTime) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// Add is the time that much later.
func (t EventTime) Add(d time.Duration) EventTime { return t + EventTime(d.Milliseconds()) }

// Failure is why an element, or an instance, could not be dealt with. An error of another type has the code ERROR.
type Failure = host.Failure

// Fail makes a failure with its code, which is short and upper case, and a sentence for a person.
func Fail(code, format string, args ...any) error {
	return &Failure{Code: code, Message: fmt.Sprintf(format, args...)}
}

// undecodable is the panic of bytes that are not of their type; it fails the element and not the call.
type undecodable struct{ cause error }

func must[T any](value T, err error) T {
	if err != nil {
		panic(undecodable{err})
	}
	return value
}

func decodeFailure(err error) error { return &Failure{Code: "DECODE", Message: err.Error()} }

// codingFailure is what a panic of the coders says; nil for other panics. It fails the element and not the call.
func codingFailure(cause any) error {
	switch cause := cause.(type) {
	case undecodable:
		return decodeFailure(cause.cause)
	case coder.Unfit:
		return &Failure{Code: "ENCODE", Message: cause.Error()}
	}
	return nil
}
