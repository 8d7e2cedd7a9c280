package identity

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
)

// Page is one page of a list. Items is never null; NextCursor is empty on the last page.
type Page[T any] struct {
	Items      []T    `json:"items" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Give it as cursor to get the next page; absent on the last one."`
}

// PageInput is what every list door takes; embed it in the input of the door.
type PageInput struct {
	Cursor string `query:"cursor" maxLength:"100" doc:"next_cursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most this many items."`
}

// Cursor is a place in a list ordered by (created_at desc, id desc): the last item already given. The zero Cursor is
// the start. Lists ask for items with (created_at, id) < (Time, ID).
type Cursor struct {
	Time time.Time
	ID   uuid.UUID
}

// Position decodes the cursor of the request.
func (p PageInput) Position() (Cursor, error) { return ParseCursor(p.Cursor) }

// Size is the number of rows to ask the database for: one more than a page, so that Cut knows whether there are more.
func (p PageInput) Size() int { return p.size() + 1 }

func (p PageInput) size() int {
	if p.Limit <= 0 {
		return 50
	}
	return min(p.Limit, 200)
}

// ParseCursor reads what Cursor.String wrote; "" is the start. Anything else is a fault of kind Invalid.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 24 {
		return Cursor{}, fault.New(fault.Invalid, "cursor_invalid", "This cursor is not one that we gave. Start from the first page.").
			At("query.cursor", "not a cursor")
	}
	return Cursor{time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC(), uuid.UUID(b[8:])}, nil
}

func (c Cursor) String() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.Time.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, c.ID[:]...))
}

// Args are the named arguments before_time and before_id for a statement with
// (@before_time::timestamptz is null or (created_at, id) < (@before_time, @before_id)).
func (c Cursor) Args() (beforeTime any, beforeID uuid.UUID) {
	if c.Time.IsZero() {
		return nil, c.ID
	}
	return c.Time, c.ID
}

// Cut makes a page of rows that were fetched with p.Size as their limit; at tells where a row stands.
func Cut[T any](p PageInput, rows []T, at func(T) Cursor) Page[T] {
	page := Page[T]{Items: rows}
	if page.Items == nil {
		page.Items = []T{}
	}
	if n := p.size(); len(rows) > n {
		page.Items = rows[:n]
		page.NextCursor = at(rows[n-1]).String()
	}
	return page
}
