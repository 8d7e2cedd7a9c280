package identity

// declare puts this room's own doors into the registry.
func (s *Service) declare(d *Doors) {
	s.declareSignIn(d)
	s.declareMe(d)
	s.declareOrganizations(d)
	s.declareInvitations(d)
	s.declareTokens(d)
	s.declareEvents(d)
}
