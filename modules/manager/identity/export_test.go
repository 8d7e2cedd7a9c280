package identity

import (
	"time"

	"pandu/modules/kit/secret"
)

// RenewEvery makes streams judge the right to read more often than in life.
func (d *Doors) RenewEvery(every time.Duration) { d.renewEvery = every }

func newTestKey() secret.Key { return secret.NewKey() }
