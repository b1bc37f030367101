# A phone, or a server, of SIP: messages come one by one from wait(), whatever they came in.
package Phone;
use strict;
use warnings;
use IO::Select;
use Sip;
use Steelyard;
use Way;

sub new {
	my ($class, $name, $sock, $transport) = @_;
	my $self = bless { name => $name, sock => $sock, transport => $transport, buffer => '', got => [] }, $class;
	$self->{host} = $sock->sockhost . ':' . $sock->sockport;
	return $self;
}
sub say { my ($self, $bytes) = @_; $self->{transport} eq 'UDP' ? $self->{sock}->send($bytes) : Way::say($self->{sock}, $bytes) }
sub wait {
	my ($self, $pattern, $limit) = @_;
	my $end = time + ($limit || $Steelyard::LIMIT);
	while (1) {
		for my $i (0 .. $#{ $self->{got} }) {
			return splice @{ $self->{got} }, $i, 1 if $self->{got}[$i] =~ $pattern;
		}
		my $left = $end - time;
		return "$self->{name} waits in vain for $pattern; has: @{ $self->{got} }"
			if $left <= 0 || !IO::Select->new($self->{sock})->can_read($left);
		if ($self->{transport} eq 'UDP') {
			$self->{sock}->recv(my $bytes, 65536);
			push @{ $self->{got} }, $bytes;
			next;
		}
		return "$self->{name} lost its connection" unless sysread $self->{sock}, $self->{buffer}, 65536, length $self->{buffer};
		push @{ $self->{got} }, Sip::messages(\$self->{buffer});
	}
}
my $turn = 0;
# is: to, id, cseq, tag, routes, uri, branch, more
sub request {
	my ($self, $method, %is) = @_;
	my $branch = $is{branch} // 'z9hG4bK' . ++$turn;
	my $to = $is{to} // "sip:$self->{name}\@example.com";
	return "$method " . ($is{uri} // ($method eq 'REGISTER' ? 'sip:example.com' : $to)) . " SIP/2.0\r\n"
		. "Via: SIP/2.0/$self->{transport} $self->{host};rport;branch=$branch\r\nMax-Forwards: 70\r\n"
		. "From: <sip:$self->{name}\@example.com>;tag=" . ($is{from_tag} // "t$self->{name}") . "\r\nTo: <$to>"
		. ($is{tag} ? ";tag=$is{tag}" : '') . "\r\nCall-ID: " . ($is{id} // "reg-$self->{name}") . "\r\nCSeq: " . ($is{cseq} // 1)
		. " $method\r\nContact: <sip:$self->{name}\@$self->{host};transport=" . lc($self->{transport}) . ">\r\n"
		. join('', map { "Route: $_\r\n" } @{ $is{routes} || [] }) . ($is{more} // '') . "Content-Length: 0\r\n\r\n";
}
sub register {
	my ($self, $cseq) = @_;
	$self->say($self->request('REGISTER', more => "Supported: path\r\nExpires: 600\r\n", cseq => $cseq // 1));
	return $self->wait(qr/^SIP/);
}
sub answer {
	my ($self, $request, $status, $phrase) = @_;
	my $record = join '', $request =~ /^(Record-Route:.*\r\n)/mig;
	$self->say(Sip::response($request, $status, $phrase, "${record}Contact: <sip:$self->{name}\@$self->{host};transport="
		. lc($self->{transport}) . ">\r\n") =~ s/;tag=server/;tag=t$self->{name}/r);
}

1;
