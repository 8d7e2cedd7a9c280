package cli

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"pandu/modules/cli/client"
)

// tokenDays is how long a token of login is valid unless told otherwise.
const tokenDays = 90

// operatorScopes are what * does not hold: they have to be named.
var operatorScopes = []string{"servers.read", "servers.manage", "system.read", "system.manage"}

type loginFlags struct {
	email         string
	passwordStdin bool
	operator      bool
	days          int64
}

func (c *cli) loginCommand() *cobra.Command {
	var f loginFlags
	command := &cobra.Command{
		Use: "login [URL]", Short: "Sign in at a panel, with e-mail address and password or with a token", Args: between(0, 1),
		Long: "Sign in at a panel and remember it as a context. Asks for e-mail address and password and keeps an API token\n" +
			"made with them, in a file that only you can read; with --token, keeps that one. --context names the context.",
		Example: "  pandu login https://panel.example.com\n  pandu login localhost:8080 --token - < token",
		RunE: c.offline(func(ctx context.Context, s *session, args []string) error {
			return s.login(ctx, strings.Join(args, ""), f)
		}),
	}
	command.Flags().StringVar(&f.email, "email", "", "e-mail address; asked for otherwise")
	command.Flags().BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from the standard input")
	command.Flags().Int64Var(&f.days, "days", tokenDays, "for how many days the token is made; 0 for ever")
	command.Flags().BoolVar(&f.operator, "operator", false, "also be allowed what operators of the platform may (servers)")
	return command
}

func (s *session) login(ctx context.Context, address string, f loginFlags) error {
	file, err := s.cli.readContexts()
	if err != nil {
		return err
	}
	before, _ := file.find(cmp.Or(s.cli.flags.context, file.Current))
	if address = cmp.Or(address, s.cli.flags.url, s.cli.env.Get("PANDU_URL"), before.URL); address == "" {
		return usagef("which panel? Usage: pandu login https://panel.example.com")
	}
	base, err := client.ParseURL(address)
	if err != nil {
		return usagef("%v", err)
	}
	s.warnPlain(base)
	made := login{Name: cmp.Or(s.cli.flags.context, base.Host), URL: base.String(), Organization: s.cli.flags.organization}
	if made.Token, err = s.cli.token(s.in); err != nil {
		return err
	}
	if made.Token == "" {
		if err = s.enter(ctx, &made, f); err != nil {
			return err
		}
	}
	me, err := s.identify(ctx, made)
	if err != nil {
		return err
	}
	made.Organization = cmp.Or(made.Organization, me.Organization)
	before, _ = file.find(made.Name)
	file.put(made)
	file.Current = made.Name
	if err := s.cli.writeContexts(file); err != nil {
		return err
	}
	s.forget(ctx, before, made)
	s.say("Signed in at %s as %s. Deploy a folder with: pandu deploy", made.URL, clean(nameOf(me)))
	if s.json {
		return s.object(me)
	}
	return nil
}

// warnPlain: over http anybody on the way reads the token.
func (s *session) warnPlain(base *url.URL) {
	host := base.Hostname()
	if base.Scheme == "http" && host != "localhost" && !strings.HasSuffix(host, ".localhost") && !strings.HasPrefix(host, "127.") && host != "::1" {
		s.say("Warning: %s is not encrypted; whoever is on the way can read your token.", base)
	}
}

// enter signs in with a password and makes a token, with which all further calls are made.
func (s *session) enter(ctx context.Context, made *login, f loginFlags) error {
	browser, err := s.cli.dial(target{url: made.URL, organization: made.Organization}, s.screen)
	if err != nil {
		return usagef("%v", err)
	}
	state, err := browser.GetSetup(ctx)
	if err != nil {
		return err
	}
	if state.Pending {
		return &exitError{
			code: exitSignIn, text: made.URL + " has no administrator yet.",
			hint: "Open the set-up link that its log shows, or print it there: pandu admin setup-link",
		}
	}
	email, password, err := s.credentials(ctx, f)
	if err != nil {
		return err
	}
	if _, err := browser.Login(ctx, client.LoginInputBody{Email: email, Password: password}); err != nil {
		return wrongPassword(err)
	}
	input := client.TokenInputBody{Name: "pandu login on " + s.cli.env.Hostname, Scopes: []string{"*"}}
	if f.operator {
		input.Scopes = append(input.Scopes, operatorScopes...)
	}
	if f.days > 0 {
		input.Days = &f.days
	}
	token, err := browser.CreateToken(ctx, input)
	if err != nil {
		return err
	}
	made.Token, made.TokenID = token.Secret, token.ID
	return browser.Logout(ctx)
}

func (s *session) credentials(ctx context.Context, f loginFlags) (email, password string, err error) {
	ask := s.asker()
	if email = f.email; email == "" {
		if email, err = ask.line(ctx, "E-mail address: "); err != nil {
			return "", "", err
		}
	}
	if f.passwordStdin {
		password, err = ask.rest()
	} else {
		password, err = ask.hidden(ctx, "Password: ")
	}
	return email, password, err
}

// wrongPassword: 401 is not "sign in again" while one signs in.
func wrongPassword(err error) error {
	var p *client.ProblemError
	if errors.As(err, &p) && p.Status == http.StatusUnauthorized {
		return &exitError{code: exitSignIn, text: clean(p.Detail)}
	}
	return err
}

// identify asks who a login is; it fails when its token is worth nothing.
func (s *session) identify(ctx context.Context, l login) (client.Me, error) {
	caller, err := s.cli.dial(target{url: l.URL, token: l.Token, organization: l.Organization}, s.screen)
	if err != nil {
		return client.Me{}, usagef("%v", err)
	}
	return caller.GetMe(ctx)
}

// forget ends the token that a login replaced or gave up. That it fails (the panel is away, the token is old) harms nobody:
// tokens of login end by themselves.
func (s *session) forget(ctx context.Context, old, by login) {
	if old.TokenID == "" || old.TokenID == by.TokenID {
		return
	}
	caller, err := s.cli.dial(target{url: old.URL, token: old.Token, organization: old.Organization}, s.screen)
	if err != nil || caller.RevokeToken(ctx, old.TokenID) != nil {
		s.say("The token that was used before could not be ended; it is still listed in pandu tokens.")
	}
}

func nameOf(me client.Me) string {
	if me.User != nil {
		return me.User.Email
	}
	return "a token of this installation"
}

func (c *cli) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget a context and end its token", Args: between(0, 0),
		RunE: c.offline(func(ctx context.Context, s *session, _ []string) error {
			file, err := c.readContexts()
			if err != nil {
				return err
			}
			l, ok := file.find(cmp.Or(c.flags.context, file.Current))
			if !ok {
				return missingContext(c.flags.context, "")
			}
			file.drop(l.Name)
			if file.Current == l.Name {
				file.Current = ""
			}
			if err := c.writeContexts(file); err != nil {
				return err
			}
			s.forget(ctx, l, login{})
			s.say("Signed out at %s.", l.URL)
			return nil
		}),
	}
}

func (c *cli) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show who you are, where, and what you may do", Args: between(0, 0),
		RunE: c.run(func(ctx context.Context, s *session, _ []string) error {
			me, err := s.client.GetMe(ctx)
			if err != nil {
				return err
			}
			t := newTable("", "")
			t.add("panel", s.client.URL())
			t.add("you", nameOf(me))
			t.add("organization", me.Organization)
			t.add("role", me.Role)
			t.add("operator", map[bool]string{true: "yes", false: "no"}[me.Operator])
			t.add("may", strings.Join(me.Permissions, " "))
			return s.printFacts(me, t)
		}),
	}
}
