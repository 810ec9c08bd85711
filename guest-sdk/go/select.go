package thalweg

import (
	"thalweg/internal/coder"
	"thalweg/internal/frame"
	"thalweg/internal/host"
)

// KeySelector gives elements their key. The methods of [Opener] and [Closer] are called if it has them.
type KeySelector[In, K any] interface {
	// Key is the key of an element. An element that has none fails the bundle.
	Key(element In) (K, error)
}

// RegisterKeySelector gives the component a key selector under a name. Its type parameters follow from the function.
func RegisterKeySelector[In, K any, F KeySelector[In, K]](name string, function F) {
	host.Functions = append(host.Functions, KeySelectorOf[In, K](name, function))
}

// KeySelectorOf is a key selector under a name. It is for package thalwegtest.
func KeySelectorOf[In, K any, F KeySelector[In, K]](name string, function F) host.Function {
	in, key := coder.Of[In](), coder.Of[K]()
	noMembers(function)
	rest := `"kind":"keyselector","input":` + in.JSON + `,"outputs":[` + entry("key", `"coder":`+key.JSON) + "]"
	return host.Function{Name: name, JSON: entry(name, rest+capabilities(function)), Open: func(config []byte, h host.Host) (host.Instance, error) {
		made := fresh(function)
		if err := open(made, config, newContext(h, &description{})); err != nil {
			return nil, err
		}
		return &selector[In, K]{function: made, in: in, key: key, host: h}, nil
	}}
}

// selector is a key selector that is open.
type selector[In, K any] struct {
	function KeySelector[In, K]
	in, key  *coder.Coder
	host     host.Host
	input    frame.Input
	values   values
}

func (s *selector[In, K]) Call(op uint32, input []byte) (output []byte, err error) {
	defer recovered(&err)
	if op != opProcess {
		return nil, host.NoOperation("key selector", op)
	}
	if s.input.Parse(input) != nil {
		return nil, host.BadFrame("input frame")
	}
	s.host.Moment(s.input.Now, s.input.Seed)
	s.values.begin()
	for row := range s.input.Rows {
		keyBytes, value, err := s.input.Element(row)
		if err != nil {
			return nil, host.BadFrame("input frame")
		}
		start := len(s.values.arena)
		element, err := coder.Columns[In](s.in, keyBytes, value)
		if err != nil {
			err = decodeFailure(err)
		} else {
			var key K
			if key, err = s.function.Key(element); err == nil {
				s.values.arena = coder.Append(s.key, s.values.arena, &key, true)
			}
		}
		if err != nil {
			s.values.failed.add(row, err)
		}
		s.values.end(start)
	}
	return s.values.finish(), nil
}

func (s *selector[In, K]) Close() {
	if closer, is := s.function.(Closer); is {
		closer.Close()
	}
}
