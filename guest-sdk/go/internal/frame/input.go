package frame

// Input is a frame as columns that point into it. The host wrote it, so a broken one is a failure of the call and not worth more
// than one word; but no frame makes this code read outside of it.
type Input struct {
	// Rows is their number.
	Rows int
	// WindowSets and Panes are the dictionaries.
	WindowSets, Panes Table
	// Cells are those of the eager slots.
	Cells []Table
	// Tables are what tables have for each row.
	Tables []Table
	// Now is the processing time of the call, Seed that of pseudo-random numbers.
	Now  int64
	Seed uint64
	// Config is the configuration of an open call.
	Config []byte

	large                                        Table
	kind                                         []byte
	group, time, windows, pane, key, value, fire column
	output, source                               column
	groups                                       []byte
	arena                                        []byte
}

// Parse reads the sections of a frame.
func (in *Input) Parse(frame []byte) error {
	*in = Input{Cells: in.Cells[:0], Tables: in.Tables[:0]}
	for id, payload := range All(frame) {
		if err := in.take(id, payload); err != nil {
			return err
		}
	}
	longest := max(len(in.time), len(in.key), len(in.value), 2*len(in.source)) / 8
	if in.Rows > longest {
		return ErrBroken
	}
	return nil
}

func (in *Input) take(id uint32, payload []byte) (err error) {
	switch id {
	case 0:
		return ErrBroken
	case Header:
		if len(payload) < 8 || order.Uint32(payload) != layoutOne {
			return ErrBroken
		}
		in.Rows = int(order.Uint32(payload[4:]))
	case Kind:
		in.kind = payload
	case Group:
		in.group = payload
	case Time:
		in.time = payload
	case Windows:
		in.windows = payload
	case Pane:
		in.pane = payload
	case Key:
		in.key = payload
	case Value:
		in.value = payload
	case Fire:
		in.fire = payload
	case Output:
		in.output = payload
	case Source:
		in.source = payload
	case Arena:
		in.arena = payload
	case WindowSets:
		in.WindowSets, err = Dictionary(payload)
	case Panes:
		in.Panes, err = Dictionary(payload)
	case Groups:
		if len(payload) < 8 {
			return ErrBroken
		}
		in.groups = payload[8:]
	case Large:
		in.large, err = Answers(payload)
	case Cells:
		return add(&in.Cells, payload, CellTable)
	case TableCells:
		return add(&in.Tables, payload, Joined)
	case Clock:
		in.Now, err = exactly(payload)
	case Seed:
		var seed int64
		seed, err = exactly(payload)
		in.Seed = uint64(seed)
	case Config:
		in.Config = payload
	}
	return err
}

func add(list *[]Table, payload []byte, read func([]byte) (Table, error)) error {
	table, err := read(payload)
	*list = append(*list, table)
	return err
}

func exactly(payload []byte) (int64, error) {
	if len(payload) != 8 {
		return 0, ErrBroken
	}
	return int64(order.Uint64(payload)), nil
}

// KindOf says what a row is: 0 an element, 1 + f a timer of family f, Expires the end of a window.
func (in *Input) KindOf(row int) byte {
	if row < len(in.kind) {
		return in.kind[row]
	}
	return 0
}

// RestOf is the token of what follows in a row's value, whose beginning alone is here; nil if all of it is.
func (in *Input) RestOf(row int) []byte {
	for i := range in.large.Len() {
		if in.large.Number(i, 0) == uint32(row) {
			return in.large.Get(i)
		}
	}
	return nil
}

// TimeOf is the event time of a row.
func (in *Input) TimeOf(row int) int64 {
	time, _ := in.time.long(row)
	return time
}

// FireOf is when the timer of a row was to fire.
func (in *Input) FireOf(row int) int64 {
	fire, _ := in.fire.long(row)
	return fire
}

// GroupOf is the group of a row; the first without groups.
func (in *Input) GroupOf(row int) uint32 {
	group, _ := in.group.number(row)
	return group
}

// GroupCount is the number of groups.
func (in *Input) GroupCount() int { return len(in.groups) / 16 }

// WindowsOf is the window set of a row, and its index.
func (in *Input) WindowsOf(row int) ([]byte, uint32) {
	index, _ := in.windows.number(row)
	return in.WindowSets.Get(int(index)), index
}

// onlyFiring is the pane of elements that nothing grouped.
var onlyFiring = []byte{0x0f}

// PaneOf is the pane of a row.
func (in *Input) PaneOf(row int) []byte {
	if in.Panes.Len() == 0 {
		return onlyFiring
	}
	index, _ := in.pane.number(row)
	return in.Panes.Get(int(index))
}

// OutputOf and SourceOf are columns of a frame of output rows.
func (in *Input) OutputOf(row int) uint32 {
	output, _ := in.output.number(row)
	return output
}

// SourceOf is the input row that an output row comes from.
func (in *Input) SourceOf(row int) uint32 {
	source, found := in.source.number(row)
	if !found {
		return uint32(row)
	}
	return source
}

// OwnTime is the time of an output row, if it does not inherit it.
func (in *Input) OwnTime(row int) (int64, bool) {
	time, found := in.time.long(row)
	return time, found && time != InheritTime
}

// OwnWindows is the window set of an output row, if it does not inherit it.
func (in *Input) OwnWindows(row int) ([]byte, bool) {
	index, found := in.windows.number(row)
	if !found || index == None {
		return nil, false
	}
	return in.WindowSets.Get(int(index)), true
}

// Element gives key and value of a row. In a frame with groups the key is that of the row's group.
func (in *Input) Element(row int) (key, value []byte, err error) {
	if len(in.value) > 0 {
		var found bool
		if value, found = in.value.cut(row, in.arena); !found {
			return nil, nil, ErrBroken
		}
	}
	switch {
	case len(in.key) > 0:
		var found bool
		if key, found = in.key.cut(row, in.arena); !found {
			return nil, nil, ErrBroken
		}
	case len(in.group) > 0:
		group, found := in.group.number(row)
		if !found || int(group) >= in.GroupCount() {
			return nil, nil, ErrBroken
		}
		if key, found = slice(order.Uint64(in.groups[16*int(group):]), in.arena); !found {
			return nil, nil, ErrBroken
		}
	}
	return key, value, nil
}
