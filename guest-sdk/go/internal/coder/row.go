package coder

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unsafe"
)

// part is a field of a row.
type part struct {
	coder    *Coder
	at       uintptr
	nullable reflect.Type
}

// fieldName is what the tag `beam` says, or that of `json`; else the field's name with a small letter in front, as in Beam's Go SDK.
func fieldName(field reflect.StructField) string {
	for _, key := range []string{"beam", "json"} {
		if name, _, _ := strings.Cut(field.Tag.Get(key), ","); name != "" {
			return name
		}
	}
	first := []rune(field.Name)
	first[0] = unicode.ToLower(first[0])
	return string(first)
}

// row is the coder of a struct: its exported fields, in their order. A field that is a pointer may be null.
func row(t reflect.Type) *Coder {
	var parts []part
	description := `{"urn":"beam:coder:row:v1","fields":[`
	for i := range t.NumField() {
		field := t.Field(i)
		if name := fieldName(field); !field.IsExported() || name == "-" {
			continue
		}
		one := part{at: field.Offset}
		kind := field.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
			one.nullable = kind
		}
		one.coder = fieldCoder(kind)
		if one.coder == nil {
			panic(fmt.Sprintf("thalweg: the field %s of %v cannot be one of a row", field.Name, t))
		}
		if len(parts) > 0 {
			description += ","
		}
		name, _ := json.Marshal(fieldName(field))
		description += `{"name":` + string(name) + `,"type":"` + one.coder.field + `"`
		if one.nullable != nil {
			description += `,"nullable":true`
		}
		description += "}"
		parts = append(parts, one)
	}
	return &Coder{JSON: description + "]}", encode: encodeRow(parts), decode: decodeRow(parts)}
}

func fieldCoder(t reflect.Type) *Coder {
	switch t.Kind() {
	case reflect.Int32:
		return small
	case reflect.Int16:
		return short
	case reflect.Uint8:
		return single
	case reflect.Float32:
		return half
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return of(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return octets
		}
	}
	return nil
}

func encodeRow(parts []part) func([]byte, unsafe.Pointer, bool) []byte {
	nullable := false
	for _, part := range parts {
		nullable = nullable || part.nullable != nil
	}
	return func(out []byte, at unsafe.Pointer, _ bool) []byte {
		out = AppendVarint(out, uint64(len(parts)))
		if nullable {
			out = appendNulls(out, parts, at)
		} else {
			out = append(out, 0)
		}
		for _, part := range parts {
			field := unsafe.Add(at, part.at)
			if part.nullable != nil {
				if field = *(*unsafe.Pointer)(field); field == nil {
					continue
				}
			}
			out = part.coder.encode(out, field, false)
		}
		return out
	}
}

// appendNulls appends a bit per field, up to the last one that is null.
func appendNulls(out []byte, parts []part, at unsafe.Pointer) []byte {
	bits, used := make([]byte, (len(parts)+7)/8), 0
	for i, part := range parts {
		if part.nullable != nil && *(*unsafe.Pointer)(unsafe.Add(at, part.at)) == nil {
			bits[i/8] |= 1 << (i % 8)
			used = i/8 + 1
		}
	}
	return append(AppendVarint(out, uint64(used)), bits[:used]...)
}

func decodeRow(parts []part) func([]byte, unsafe.Pointer, bool) ([]byte, error) {
	return func(in []byte, at unsafe.Pointer, _ bool) ([]byte, error) {
		count, in, err := Varint(in)
		if err != nil {
			return nil, err
		}
		nulls, in, err := prefixed(in, false)
		if err != nil {
			return nil, err
		}
		for i, part := range parts {
			// a row of an older schema has fewer fields: those missing are null
			null := uint64(i) >= count || (i/8 < len(nulls) && nulls[i/8]>>(i%8)&1 == 1)
			field := unsafe.Add(at, part.at)
			switch {
			case null && part.nullable == nil:
				return nil, Malformed("a row with a value in every field that has to have one")
			case null:
				*(*unsafe.Pointer)(field) = nil
				continue
			case part.nullable != nil:
				value := reflect.New(part.nullable).UnsafePointer()
				*(*unsafe.Pointer)(field) = value
				field = value
			}
			if in, err = part.coder.decode(in, field, false); err != nil {
				return nil, err
			}
		}
		if count > uint64(len(parts)) {
			return nil, Malformed("a row of these fields")
		}
		return in, nil
	}
}
