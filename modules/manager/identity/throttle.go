package identity

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"pandu/modules/kit/fault"
	"pandu/modules/kit/pg"
)

// How many attempts to sign in, register or set up may fail before the next ones have to wait. An attempt counts when
// it begins and is given back when it succeeds, so that many at once do not slip through.
const (
	triesWindow     = 15 * time.Minute
	triesPerAddress = 30  // one address (of IPv6: one /64), whatever the account
	triesPerAccount = 100 // one account, from all addresses that it never signed in from
	triesPerPair    = 8   // one account from one address
)

// bucket is one thing that attempts are counted for.
type bucket struct {
	name string
	most int
}

// countTry begins a new window when the old one is over, and returns the count and the seconds until the window ends.
const countTry = `
	insert into identity.throttles (bucket, count, expires_at) values (@bucket, 1, now() + make_interval(secs => @window))
	on conflict (bucket) do update set
		count = case when throttles.expires_at < now() then 1 else throttles.count + 1 end,
		expires_at = case when throttles.expires_at < now() then excluded.expires_at else throttles.expires_at end
	returning count, extract(epoch from expires_at - now())::float8 as seconds`

const giveTryBack = `update identity.throttles set count = greatest(count - 1, 0) where bucket = any (@buckets)`

const knowsAddress = `
	select exists (select from identity.sessions where user_id = @user and address = @address)`

type tries struct {
	Count   int     `db:"count"`
	Seconds float64 `db:"seconds"`
}

// buckets of an attempt at an account. Whoever signed in from this address before is not kept out by what strangers
// elsewhere do to the account.
func (s *Service) buckets(ctx context.Context, user uuid.UUID, email, address string) ([]bucket, error) {
	familiar, err := pg.Value[bool](ctx, s.db.Pool, knowsAddress, pg.Args{"user": user, "address": address})
	if err != nil {
		return nil, fmt.Errorf("look up address of account: %w", err)
	}
	network := networkOf(address)
	all := []bucket{{"address " + network, triesPerAddress}, {"pair " + email + " " + network, triesPerPair}}
	if !familiar {
		all = append(all, bucket{"account " + email, triesPerAccount})
	}
	return all, nil
}

// try counts an attempt in every bucket; a fault of kind Limit at the first that is full. The address comes first:
// whoever guesses names from one address fills no table with them.
func (s *Service) try(ctx context.Context, buckets []bucket) error {
	for _, b := range buckets {
		t, err := pg.One[tries](ctx, s.db.Pool, countTry, pg.Args{"bucket": b.name, "window": triesWindow.Seconds()})
		if err != nil {
			return fmt.Errorf("count attempt: %w", err)
		}
		if t.Count > b.most {
			return tooMany(time.Duration(t.Seconds * float64(time.Second)))
		}
	}
	return nil
}

func tooMany(wait time.Duration) error {
	minutes := int(wait.Minutes()) + 1
	return fault.Newf(fault.Limit, "too_many_attempts", "Too many attempts failed. Try again in %d minutes.", minutes).
		With("minutes", fmt.Sprint(minutes)).After(wait)
}

// succeeded gives the attempt back.
func (s *Service) succeeded(ctx context.Context, buckets []bucket) error {
	names := make([]string, len(buckets))
	for i, b := range buckets {
		names[i] = b.name
	}
	if _, err := pg.Exec(ctx, s.db.Pool, giveTryBack, pg.Args{"buckets": names}); err != nil {
		return fmt.Errorf("give attempt back: %w", err)
	}
	return nil
}

// networkOf is what attempts from an address are counted for: the address, or the /64 that one IPv6 customer has.
func networkOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, _ := ip.Prefix(64) // 64 fits every IPv6 address
	return prefix.String()
}
