package coder

import (
	"bytes"
	"reflect"
	"testing"
)

func encodes[T any](t *testing.T, value T, outer bool, wanted ...byte) {
	t.Helper()
	c := Of[T]()
	found := Append(c, []byte{9}, &value, outer)[1:]
	if !bytes.Equal(found, wanted) {
		t.Fatalf("%v is %v and not %v", value, found, wanted)
	}
	if outer {
		back, err := Outer[T](c, found)
		if err != nil || !reflect.DeepEqual(back, value) {
			t.Fatal(back, err)
		}
		return
	}
	back, rest, err := Nested[T](c, append(found, 77))
	if err != nil || !reflect.DeepEqual(back, value) || !bytes.Equal(rest, []byte{77}) {
		t.Fatal(back, rest, err)
	}
}

// trip has the encodings that apache_beam 2.77 gives for RowCoder of (from: str, minutes: Optional[int64], fare: float64).
type trip struct {
	From    string
	Minutes *int64
	Fare    float64
}

func TestEncodingsAreThoseOfBeam(t *testing.T) {
	encodes(t, KV[string, int64]{"ab", 300}, true, 2, 'a', 'b', 0xac, 2)
	encodes(t, KV[string, KV[[]byte, float64]]{"a", KV[[]byte, float64]{[]byte("xy"), 1}}, false, 1, 'a', 2, 'x', 'y', 0x3f, 0xf0, 0, 0, 0, 0, 0, 0)
	encodes(t, -1, true, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1)
	encodes(t, true, true, 1)
	encodes(t, "ab", true, 'a', 'b')
	encodes(t, []string{"ab"}, true, 0, 0, 0, 1, 2, 'a', 'b')
	five := int64(5)
	encodes(t, []*int64{&five, nil}, false, 0, 0, 0, 2, 1, 5, 0)
	encodes(t, trip{"ab", &five, 1}, true, 3, 0, 2, 'a', 'b', 5, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0)
	encodes(t, trip{"ab", nil, 1}, false, 3, 1, 2, 2, 'a', 'b', 0x3f, 0xf0, 0, 0, 0, 0, 0, 0)
	encodes(t, JSON[map[string]int]{map[string]int{"b": 2, "a": 1}}, false, append([]byte{13}, `{"a":1,"b":2}`...)...)
}

type fields struct {
	A      int16
	B      int32
	C      uint8   `json:"see,omitempty"`
	D      float32 `beam:"dee"`
	hidden bool
}

func TestRowsNameTheirFields(t *testing.T) {
	wanted := `{"urn":"beam:coder:row:v1","fields":[{"name":"a","type":"int16"},{"name":"b","type":"int32"},` +
		`{"name":"see","type":"byte"},{"name":"dee","type":"float"}]}`
	if found := Of[fields]().JSON; found != wanted {
		t.Fatal(found)
	}
	encodes(t, fields{A: -2, B: -1, C: 7, D: 1}, true, 4, 0, 255, 254, 255, 255, 255, 255, 15, 7, 0x3f, 0x80, 0, 0)
	if found := Of[trip]().JSON; !bytes.Contains([]byte(found), []byte(`{"name":"minutes","type":"int64","nullable":true}`)) {
		t.Fatal(found)
	}
}

func refused[T any](t *testing.T, in ...byte) {
	t.Helper()
	if value, err := Outer[T](Of[T](), in); err == nil {
		t.Fatal(value)
	}
}

func TestForeignBytesAreMalformed(t *testing.T) {
	refused[string](t, 0xff)
	refused[int64](t, 1, 1)
	refused[int64](t, 0x80)
	refused[int64](t, bytes.Repeat([]byte{0x80}, 11)...)
	refused[float64](t, 0, 0, 0)
	refused[bool](t, 2)
	refused[*int64](t, 2)
	refused[[]int64](t, 0, 0, 0, 1, 3, 9)
	refused[[]string](t, 0, 0, 0, 9, 1, 'a')
	refused[trip](t, 3, 0, 200, 'a')
	refused[trip](t, 1, 0, 1, 'a')
	refused[JSON[int]](t, '{')
	refused[KV[string, string]](t, 5, 'a')
}

func TestGroupedValuesAreReadWithACountAndInBlocks(t *testing.T) {
	for _, in := range [][]byte{{0, 0, 0, 3, 1, 2, 3}, {255, 255, 255, 255, 2, 1, 2, 1, 3, 0}} {
		values, rest, err := Nested[Iter[int64]](Of[Iter[int64]](), append(in, 9))
		if err != nil || !bytes.Equal(rest, []byte{9}) {
			t.Fatal(rest, err)
		}
		var all []int64
		for value, err := range values.All() {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, value)
		}
		if !reflect.DeepEqual(all, []int64{1, 2, 3}) {
			t.Fatal(all)
		}
		if back := Append(Of[Iter[int64]](), nil, &values, true); !bytes.Equal(back, []byte{0, 0, 0, 3, 1, 2, 3}) {
			t.Fatal(back)
		}
	}
	values, err := Outer[Iter[int64]](Of[Iter[int64]](), []byte{0, 0, 0, 2, 1})
	var last error
	for _, wrong := range values.All() {
		last = wrong
	}
	if err != nil || last == nil {
		t.Fatal("an element is missing", err)
	}
}
