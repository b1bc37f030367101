#!/usr/bin/env perl
# Findings: for each rule a configuration that it finds, with the words that say what would be right, one
# that it leaves alone, and the same as the first with the finding switched off.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Certificates;
use File::Temp qw(tempdir);
use Test::More;
use Steelyard;

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $head = $> == 0 ? 'user nobody; ' : '';
my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('few', ca => 'ca', key => 'ec', chain => ['ca'], names => ['web.example.net', 'meet.example.net']);
$certs->issue('all', ca => 'ca', key => 'ec', chain => ['ca'], names => [map { "$_.example.net" } qw(web lyncdiscover meet dialin)]);
$certs->issue('star', ca => 'ca', key => 'ec', chain => ['ca'], names => ['*.example.net']);

sub load {
	my $conf = shift;
	open my $out, '>', "$dir/steelyard.conf" or die $!;
	print $out $head, $conf;
	close $out or die $!;
	my $modules = Steelyard::modules();
	my $text = `@{[ Steelyard::steelyardd() ]} -t -m $modules -c $dir/steelyard.conf 2>&1`;
	return ($? >> 8, $text);
}

# A service that is good; what is given takes the place of what it has. ROLE and what a case changes.
sub service {
	my ($role, %change) = @_;
	my %s = (listen => '127.0.0.1:5061', pool => 'p', 'idle-timeout' => '30m', snat => 'on',
		persistence => 'source { timeout 20m; }', monitor => 'tcp { port 5061; }', role => $role, %change);
	my $name = delete $s{name} // 'v';
	return "virtual-service $name { " . join(' ', map { my $k = $_; map { "$k $_" . (/\}$/ ? '' : ';') } ref $s{$k} ? @{ $s{$k} } : $s{$k} }
		grep { defined $s{$_} } sort keys %s) . " }\n";
}
my $pool = "pool p { server s1 192.0.2.1; server s2 192.0.2.2; }\n";
my $edge = "pool e { server e1 192.0.2.11; }\n";
my $tls = sub { "127.0.0.1:4443 { tls { certificate " . $certs->path("$_[0].chain") . ' { key ' . $certs->path("$_[0].key") . '; } } }' };
# The other side of an Edge pool, where a rule is not about it.
my $other = sub { $edge . service(shift, name => 'other', listen => '127.0.0.2:5061', pool => 'e') };

# rule, what it says, found, left alone
my @cases = (
	[ idle => qr/30 minutes/, $pool . service('front-end', 'idle-timeout' => '11m'), $pool . service('front-end') ],
	[ idle => qr/30 minutes/, $pool . service('xmpp', 'idle-timeout' => '11m', listen => '127.0.0.1:5269'), $pool . service('xmpp') ],
	[ idle => qr/16m/, $pool . service('reverse-proxy', 'idle-timeout' => '10m', pool => 'p port=4443'),
		$pool . service('reverse-proxy', 'idle-timeout' => '16m', pool => 'p port=4443') ],
	[ idle => qr/two minutes/, $pool . service('sip', 'idle-timeout' => '90s'), $pool . service('sip', 'idle-timeout' => '6m') ],
	[ idle => qr/30 minutes/, $pool . service('edge-webconf', 'idle-timeout' => '1799s', listen => '127.0.0.1:443') . $other->('edge-internal'),
		$pool . service('edge-av', 'idle-timeout' => '2m', listen => '127.0.0.1:3478/udp', snat => 'off', protocol => 'udp')
			. $other->('edge-internal') ],
	[ snat => qr/A\/V Edge must see the client/, $pool . service('edge-av', listen => '127.0.0.1:443') . $other->('edge-internal'),
		$pool . service('edge-av', listen => '127.0.0.1:443', snat => 'off') . $other->('edge-internal') ],
	[ snat => qr/TURN server tells/, $pool . service('turn', listen => '127.0.0.1:3478/udp', protocol => 'udp'),
		$pool . service('turn', listen => '127.0.0.1:3478') ],
	[ snat => qr/Front End that connects to its own pool/, $pool . service('front-end', snat => 'off'), $pool . service('front-end') ],
	[ 'edge-ports' => qr/8057 is for web conferencing/, $pool . service('edge-internal', listen => '127.0.0.1:5061 127.0.0.1:8057') . $other->('edge-access'),
		$pool . service('edge-internal', listen => '127.0.0.1:5061 127.0.0.1:5062') . $other->('edge-access') ],
	[ 'edge-ports' => qr/4443 is for replication/, $pool . service('edge-internal', listen => '127.0.0.1:4443') . $other->('edge-access'),
		$pool . service('web-external', listen => '127.0.0.1:4443') ],
	[ 'edge-ports' => qr/23456/, $pool . service('edge-internal', listen => '127.0.0.1:23456') . $other->('edge-access'),
		$pool . service('edge-access', listen => '127.0.0.1:23456') . $other->('edge-internal') ],
	[ 'mixed-edge' => qr/external side is balanced here and their internal side is not/, $pool . service('edge-access'),
		$pool . service('edge-access') . $other->('edge-internal') ],
	[ 'mixed-edge' => qr/internal side is balanced here and their external side is not/, $pool . service('edge-internal'),
		$pool . service('edge-internal') . $other->('edge-access') ],
	[ 'web-mapping' => qr/port 443 leads to the servers' port 443.*pool p port=4443/, $pool . service('reverse-proxy', listen => '127.0.0.1:443'),
		$pool . service('reverse-proxy', listen => '127.0.0.1:443', pool => 'p port=4443') ],
	[ 'web-mapping' => qr/port 80 leads to the servers' port 80.*8080/, $pool . service('web-external', listen => '127.0.0.1:80'),
		$pool . service('web-internal', listen => '127.0.0.1:80') ],
	[ 'web-check' => qr/monitor tcp \{ port 5061; \} besides/, $pool . service('web-internal', listen => '127.0.0.1:443', monitor => 'tcp'),
		$pool . service('web-internal', listen => '127.0.0.1:443', monitor => ['tcp', 'tcp { port 5061; }']) ],
	[ 'pseudo-tls' => qr/looks like TLS for one message/, $pool . service('edge-av', listen => '127.0.0.1:443', snat => 'off', monitor => 'tls')
		. $other->('edge-internal'),
		$pool . service('edge-access', listen => '127.0.0.1:443', monitor => 'tls') . $other->('edge-internal') ],
	[ 'pseudo-tls' => qr/monitor tcp \{ port 443; \}/, $pool . service('edge-internal', listen => '127.0.0.1:3478/udp', protocol => 'udp',
		monitor => 'tls { port 443; }') . $other->('edge-access'),
		$pool . service('edge-internal', listen => '127.0.0.1:5061', monitor => 'tls') . $other->('edge-access') ],
	[ certificate => qr/no certificate holds lyncdiscover\.DOMAIN/, $pool . service('web-external', listen => $tls->('few')),
		$pool . service('web-external', listen => $tls->('all')) ],
	[ certificate => qr/no certificate holds other\.example\.net/, $pool . service('web-external', listen => $tls->('all'), names => 'web.example.net other.example.net'),
		$pool . service('web-external', listen => $tls->('star'), names => 'web.example.net other.example.net') ],
	[ certificate => qr/no certificate holds \*\.example\.net/, $pool . service('web-external', listen => $tls->('all'), names => '*.example.net'),
		$pool . service('web-external', listen => $tls->('star'), names => '*.example.net web.example.net') ],
	[ persistence => qr/remembered for 30s, which is over before/, $pool . service('front-end', persistence => 'source { timeout 30s; }'),
		$pool . service('front-end', persistence => 'off') ],
);
for my $case (@cases) {
	my ($rule, $words, $bad, $good) = @$case;
	my ($status, $text) = load($bad);
	is($status, 0, "$rule: a finding is no error") or diag $text;
	like($text, $words, "$rule: it says what would be right");
	like($text, qr/^\S+:\d+: warning: virtual-service \S+: .*lint $rule off/m, "$rule: and where, and how to silence it");
	is(scalar(() = $text =~ /warning/g), 1, "$rule: nothing else is found") or diag $text;
	($status, $text) = load($good);
	is($status, 0, "$rule: the right one loads") or diag $text;
	unlike($text, qr/warning/, "$rule: and nothing is found");
	for my $off ("lint $rule off;", 'lint off;') {
		(my $silent = $bad) =~ s/virtual-service v \{/virtual-service v { $off/;
		($status, $text) = load($silent);
		unlike($text, qr/warning/, "$rule: $off");
	}
	(my $other = $bad) =~ s/virtual-service v \{/"virtual-service v { lint " . ($rule eq 'idle' ? 'snat' : 'idle') . ' off;'/e;
	like((load($other))[1], qr/warning/, "$rule: another one switched off does not help");
	(my $none = $bad) =~ s/ role \S+;/ role none;/g;
	unlike($rule eq 'certificate' ? '' : (load($none))[1], qr/warning/, "$rule: without a role nothing is known");
}

# An Edge's address among Front Ends is refused.
{
	my $both = $pool . "pool q { server edge1 192.0.2.2:5061; }\n" . service('edge-internal', name => 'inside', pool => 'q', listen => '127.0.0.1:5061')
		. service('edge-access', name => 'outside', pool => 'r', listen => '127.0.0.2:5061') . "pool r { server edge1 192.0.2.21; }\n"
		. service('front-end', listen => '127.0.0.3:5061');
	my ($status, $text) = load($both);
	is($status, 1, 'an Edge among the Front Ends: refused');
	like($text, qr/^\S+:1: virtual-service v is for Front Ends, and 192\.0\.2\.2 is the address of an Edge in inside \(\S+:\d+\)/m,
		'with the server, and the service that says so') or diag $text;
	$both =~ s/virtual-service v \{/virtual-service v { lint edge-address off;/;
	is((load($both))[0], 0, 'unless it is meant so');
}

# The statement itself.
for my $bad ([ 'lint;', qr/lint off; switches/ ], [ 'lint idle;', qr/lint off; switches/ ], [ 'lint idel off;', qr/no such finding; did you mean idle/ ],
	[ 'role front-ends;', qr/role/ ]) {
	my ($status, $text) = load($pool . "virtual-service v { listen 127.0.0.1:0; pool p; monitor tcp; $bad->[0] }\n");
	is($status, 1, "$bad->[0] is refused");
	like($text, $bad->[1], 'in words');
}
done_testing;
