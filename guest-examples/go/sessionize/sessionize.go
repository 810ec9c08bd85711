// Package sessionize makes sessions by state and timers: events of a user that follow each other within a gap belong together.
package sessionize

import "thalweg"

// Session is the events of one user without a gap between them. End is the time of the last, and the gap behind it.
type Session struct {
	User   string
	Start  int64
	End    int64
	Events int64
	Total  int64
}

// Sessionize makes sessions of pairs of user and amount. A session leaves when it is over.
type Sessionize struct {
	GapMS int64 `json:"gap_ms"`

	Sessions thalweg.Output[Session]
	// When the timer is set for.
	Next thalweg.Value[int64] `thalweg:"next,eager"`
	// The amounts of the events, by their time.
	Seen thalweg.OrderedList[int64]
	Gap  thalweg.EventTimer
}

// Open checks the configuration.
func (s *Sessionize) Open() error {
	if s.GapMS <= 0 {
		return thalweg.Fail("CONFIG", "gap_ms must be larger than 0")
	}
	return nil
}

// Process remembers an event, and waits for the end of its session.
func (s *Sessionize) Process(ctx *thalweg.Context, event thalweg.KV[string, int64]) error {
	if event.Value < 0 {
		return thalweg.Fail("AMOUNT", "%d is negative", event.Value)
	}
	s.Seen.Add(ctx.Time(), event.Value)
	due := int64(ctx.Time()) + s.GapMS
	if next, waits := s.Next.Get(); !waits || due < next {
		s.wait(due)
	}
	return nil
}

func (s *Sessionize) wait(due int64) {
	s.Gap.Set(due)
	s.Next.Set(due)
}

// OnTimer puts out the sessions that are over, and waits for the next.
func (s *Sessionize) OnTimer(ctx *thalweg.Context, timer thalweg.Fired) error {
	s.Next.Clear()
	user := thalweg.Key[string](ctx)
	for _, session := range s.sessions(user) {
		if session.End > timer.FireMS() {
			s.wait(session.End)
			break
		}
		s.Seen.RemoveRange(thalweg.EventTime(session.Start), thalweg.EventTime(session.End))
		s.Sessions.Emit(session)
	}
	return nil
}

// sessions cuts the events where one comes a gap or more behind the one before.
func (s *Sessionize) sessions(user string) (all []Session) {
	for time, amount := range s.Seen.All() {
		at := int64(time)
		if last := len(all) - 1; last < 0 || at >= all[last].End {
			all = append(all, Session{User: user, Start: at})
		}
		session := &all[len(all)-1]
		session.End = at + s.GapMS
		session.Events++
		session.Total += amount
	}
	return all
}
