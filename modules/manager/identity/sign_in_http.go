package identity

import (
	"context"
	"net/http"
	"time"
)

// agent is the User-Agent header, kept with sessions so that people recognise them.
type agent struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
}

func (g agent) origin(a Actor) origin { return origin{a.Address, g.UserAgent, a.RequestID} }

type setupState struct {
	Pending      bool         `json:"pending" doc:"There is no administrator yet: open the set-up link from the server's log."`
	Registration Registration `json:"registration" enum:"open,invite,closed"`
}

type setupInput struct {
	agent
	Body struct {
		Account
		Secret string `json:"secret" maxLength:"100" doc:"What follows # in the set-up link."`
	}
}

type registerInput struct {
	agent
	Body struct {
		Account
		Invitation string `json:"invitation,omitempty" maxLength:"100" doc:"What follows # in the link of an invitation."`
	}
}

type loginInput struct {
	agent
	Body struct {
		Email    string `json:"email" maxLength:"254"`
		Password string `json:"password" maxLength:"256"`
	}
}

// signedInOutput starts the browser's session.
type signedInOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      struct {
		UserID string `json:"user_id"`
	}
}

type signedOutOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

type jwtReply struct {
	Token     string    `json:"token" doc:"A JWT to send as Authorization: Bearer."`
	TokenType string    `json:"token_type" enum:"Bearer"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s *Service) signedIn(in SignedIn) *signedInOutput {
	out := &signedInOutput{SetCookie: *s.cookie(in.secret)}
	out.Body.UserID = in.UserID.String()
	return out
}

func (s *Service) declareSignIn(d *Doors) {
	Handle(d, Door{
		ID: "get-setup", Method: http.MethodGet, Path: "/auth/setup", Tag: "auth", Public: true,
		Summary: "Whether this installation still needs its first administrator, and who may register.",
	}, func(ctx context.Context, _ Actor, _ *struct{}) (*Body[setupState], error) {
		_, pending, err := s.SetupLink(ctx)
		return Reply(setupState{pending, s.registration}), err
	})
	Handle(d, Door{
		ID: "set-up", Method: http.MethodPost, Path: "/auth/setup", Tag: "auth", Public: true, Status: http.StatusCreated,
		Summary: "Make the first administrator, once, and sign in.",
	}, func(ctx context.Context, a Actor, in *setupInput) (*signedInOutput, error) {
		if err := s.try(ctx, []bucket{{"setup " + networkOf(a.Address), triesPerAddress}}); err != nil {
			return nil, err
		}
		session, err := s.SetUp(ctx, in.Body.Secret, in.Body.Account, in.origin(a))
		if err != nil {
			return nil, err
		}
		return s.signedIn(session), nil
	})
	Handle(d, Door{
		ID: "register", Method: http.MethodPost, Path: "/auth/register", Tag: "auth", Public: true, Status: http.StatusCreated,
		Summary: "Make an account, where registration is open or with an invitation, and sign in.",
	}, func(ctx context.Context, a Actor, in *registerInput) (*signedInOutput, error) {
		session, err := s.Register(ctx, in.Body.Account, in.Body.Invitation, in.origin(a))
		if err != nil {
			return nil, err
		}
		return s.signedIn(session), nil
	})
	Handle(d, Door{
		ID: "login", Method: http.MethodPost, Path: "/auth/login", Tag: "auth", Public: true,
		Summary: "Sign in with e-mail address and password; the session comes as a cookie.",
	}, func(ctx context.Context, a Actor, in *loginInput) (*signedInOutput, error) {
		session, err := s.Login(ctx, in.Body.Email, in.Body.Password, in.origin(a))
		if err != nil {
			return nil, err
		}
		return s.signedIn(session), nil
	})
	Handle(d, Door{
		ID: "logout", Method: http.MethodPost, Path: "/auth/logout", Tag: "auth", AnyMember: true, Status: http.StatusNoContent,
		Summary: "End the browser's session.",
	}, func(ctx context.Context, a Actor, _ *struct{}) (*signedOutOutput, error) {
		return &signedOutOutput{SetCookie: *s.noCookie()}, s.Logout(ctx, a)
	})
	Handle(d, Door{
		ID: "exchange-token", Method: http.MethodPost, Path: "/auth/token", Tag: "auth", AnyMember: true,
		Summary: "Exchange the session or API token for a JWT that is valid for ten minutes.",
	}, func(ctx context.Context, a Actor, _ *struct{}) (*Body[jwtReply], error) {
		text, expires, err := s.issueJWT(ctx, a)
		return Reply(jwtReply{text, "Bearer", expires.UTC()}), err
	})
}
