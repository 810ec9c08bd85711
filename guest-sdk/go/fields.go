package thalweg

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// member is a field of a function that the description knows or that needs the context.
type member interface {
	// bind makes the field usable and adds it to the description. A context of nil is for the description alone.
	bind(ctx *Context, name string, options []string, to *description)
}

// description is what fields say of a function: entries of JSON lists.
type description struct {
	outputs, slots, timers, sides, tables []string
	// eager says of each slot whether its cells arrive with the batch; plain, whether it is a value or a bag.
	eager, plain []bool
	// first tells how long the first of some values of a bag is, by slot: for package thalwegtest.
	first map[int]func(values []byte) (int, error)
	// declared says whether a table is looked up by the element's key.
	declared bool
}

func entry(name, rest string) string { return `{"name":` + quoted(name) + "," + rest + "}" }

// snake is a field's name in small letters with underscores: `LastSeen` is `last_seen`, `GapMS` is `gap_ms`.
func snake(name string) string {
	var out strings.Builder
	letters := []rune(name)
	for i, letter := range letters {
		begins := i > 0 && unicode.IsUpper(letter) &&
			(!unicode.IsUpper(letters[i-1]) || (i+1 < len(letters) && unicode.IsLower(letters[i+1])))
		if begins {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(letter))
	}
	return out.String()
}

// structOf is what a registered pointer points to.
func structOf(function any) reflect.Value {
	value := reflect.ValueOf(function)
	if value.Kind() != reflect.Pointer || value.IsNil() || value.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("thalweg: register a pointer to a struct, not %T", function))
	}
	return value.Elem()
}

// fresh is a copy of a registered function.
func fresh[F any](function F) F {
	original := structOf(function)
	made := reflect.New(original.Type())
	made.Elem().Set(original)
	return made.Interface().(F)
}

// bind makes the fields of a function usable.
func bind(function any, ctx *Context) *description {
	found, all := &description{first: map[int]func([]byte) (int, error){}}, structOf(function)
	for i := range all.NumField() {
		field := all.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		one, is := all.Field(i).Addr().Interface().(member)
		if !is {
			continue
		}
		parts := strings.Split(field.Tag.Get("thalweg"), ",")
		name := parts[0]
		if name == "" {
			name = snake(field.Name)
		}
		one.bind(ctx, name, parts[1:], found)
	}
	return found
}

// noMembers refuses fields of this package in what is no DoFn.
func noMembers(function any) {
	all := structOf(function)
	for i := range all.NumField() {
		field := all.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		if _, is := all.Field(i).Addr().Interface().(member); is {
			panic(fmt.Sprintf("thalweg: only a DoFn has outputs, state, timers, inputs and metrics; the field %s is one", field.Name))
		}
	}
}

func has(options []string, wanted string) bool {
	for _, option := range options {
		if option != wanted {
			panic(fmt.Sprintf("thalweg: the tag has the unknown option %q", option))
		}
	}
	return len(options) > 0
}
