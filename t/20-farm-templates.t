#!/usr/bin/env perl
# The ready-made templates: each loads alone with only what it must be told, offers the ports that the
# role has and no other, on the servers' side too, with the settings that the role needs; and tells what
# it does.
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
my $templates = Steelyard::src_dir() . '/conf.d/templates';
my $head = ($> == 0 ? "user nobody;\n" : '') . "include $templates/*.conf;\n";

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('web', ca => 'ca', key => 'ec', chain => ['ca'], names => [map { "$_.example.net" }
	qw(web lyncdiscover meet dialin office mail)]);
my $pem = $certs->path('web.pem');

# (exit status, all that was said, services by name) of a configuration behind the templates.
sub load {
	my $conf = shift;
	open my $out, '>', "$dir/steelyard.conf" or die $!;
	print $out $head, $conf;
	close $out or die $!;
	my $modules = Steelyard::modules();
	my $text = `@{[ Steelyard::steelyardd() ]} -T -m $modules -c $dir/steelyard.conf 2>$dir/err`;
	my $status = $? >> 8;
	open my $in, '<', "$dir/err" or die $!;
	my $err = do { local $/; <$in> } // '';
	my (%services, $at, $monitor);
	for my $line (split /\n/, $text) {
		$line =~ s/  # .*//;
		if ($line =~ /^virtual-service (\S+) \{/) {
			$at = $services{$1} = { listen => [], monitors => [] };
		} elsif ($line =~ /^\}/) {
			$at = undef;
		} elsif ($at && $line =~ /^\tmonitor (\S+)/) {
			push @{ $at->{monitors} }, $monitor = { kind => $1 };
		} elsif ($at && $line =~ /^\tlisten (\S+?)(?:;| \{)$/) {
			push @{ $at->{listen} }, $1;
		} elsif ($at && $line =~ /^\t([\w-]+) (.*?)(;| \{)$/) {
			$at->{$1} = $2;
			$monitor = $1 eq 'persistence' ? $at->{life} = {} : undef;
		} elsif ($at && $monitor && $line =~ /^\t\t([\w-]+) (.*);$/) {
			$monitor->{$1} = $2;
		}
	}
	return ($status, $err, \%services);
}

# template => [required parameters, ports and transports, with more parameters => other ports]
my $fe = 'server fe1 10.0.0.11; server fe2 10.0.0.12;';
my @hlb = qw(135 443 444 448 4443 5060 5061 5067 5068 5070 5071 5072 5073 5075 5076 5080 80 8080);
my $edge = sub { "server edge1 10.0.1.${_}1; server edge2 10.0.1.${_}2;" };
my ($access, $webconf, $av, $inside) = map { $edge->() } 1 .. 4;
my @cases = (
	[ 'lync-fe-hlb', "virtual-address 10.0.0.5; front-ends { $fe }", [@hlb],
		'version 2010;' => [@hlb, qw(5065 5069 5074)], 'version se;' => [@hlb], 'version 2013;' => [@hlb],
		"version 2010; external-certificate $pem; pool-name fepool.example.net;" => [@hlb, qw(5065 5069 5074)] ],
	[ 'lync-fe-web-dnslb', "internal-address 10.0.0.5; front-ends { $fe }", [qw(80 443 8080 4443)],
		"version 2010; external-certificate $pem; pool-name fepool.example.net;" => [qw(80 443 8080 4443)] ],
	[ 'lync-director-hlb', "virtual-address 10.0.0.5; directors { $fe }", [qw(5061 444 443 4443 80 8080)],
		'version 2010;' => [qw(5061 444 443 4443 80 8080 5060)],
		"version 2010; external-certificate $pem; pool-name fepool.example.net;" => [qw(5061 444 443 4443 80 8080 5060)] ],
	[ 'lync-director-web-dnslb', "internal-address 10.0.0.5; directors { $fe }", [qw(80 443 8080 4443)],
		"external-certificate $pem; web-names web.example.net; pool-name fepool.example.net;" => [qw(80 443 8080 4443)] ],
	[ 'lync-edge-ext-access', "access-address 10.0.0.5; access-edges { $access }", [qw(443 5061)],
		'version 2013;' => [qw(443 5061 5269)], 'version 2015;' => [qw(443 5061 5269)],
		'version se;' => [qw(443 5061)] ],
	[ 'lync-edge-ext-webconf', "webconf-address 10.0.0.6; webconf-edges { $webconf }", [qw(443)] ],
	[ 'lync-edge-ext-av', "av-address 10.0.0.7; av-edges { $av }", [qw(443 3478/udp)] ],
	[ 'lync-edge-external', "access-address 10.0.0.5; webconf-address 10.0.0.6; av-address 10.0.0.7;"
		. "access-edges { $access } webconf-edges { $webconf } av-edges { $av }",
		[qw(443 5061 443 443 3478/udp)], 'version 2013;' => [qw(443 5061 5269 443 443 3478/udp)] ],
	[ 'lync-edge-int', "internal-address 10.0.0.5; internal-edges { $inside }", [qw(5061 5062 443 3478/udp)] ],
	[ 'lync-mediation', 'virtual-address 10.0.0.5; mediation-servers { server m 10.0.0.31; }', [qw(5070 5067 5068)] ],
	[ 'lync-gateways', 'virtual-address 10.0.0.5; gateways { server g 10.0.0.41; }', [qw(5081 5082)] ],
	[ 'lync-reverse-proxy', "virtual-address 10.0.0.5; front-ends { $fe } certificate $pem; pool-name fepool.example.net;"
		. 'web-names web.example.net lyncdiscover.example.net meet.example.net dialin.example.net;', [qw(443 80)],
		'office-web-apps { server o 10.0.0.81; } office-web-name office.example.net;' => [qw(443 80)] ],
	[ 'office-web-apps', "virtual-address 10.0.0.5; office-web-apps { server o 10.0.0.81; } certificate $pem; farm-name office.example.net;", [443] ],
	[ 'exchange', "virtual-address 10.0.0.5; exchange-servers { server x 10.0.0.91; } certificate $pem; client-name mail.example.net;",
		[qw(443 25 587 110 995 143 993)] ],
	[ 'exchange-2010', 'virtual-address 10.0.0.5; exchange-servers { server x 10.0.0.91; }', [qw(443 80 135 25 587 110 995 143 993)],
		'rpc-ports 135 59532 59533; mail-ports 25;' => [qw(443 80 135 59532 59533 25)] ],
	[ 'exchange-mail', 'virtual-address 10.0.0.5; pool mail; ports 25;', [qw(25)] ],
	[ 'lync-xmpp', 'access-address 10.0.0.5; access-edges-pool mail;', [qw(5269)] ],
	[ 'sip-farm', 'virtual-address 10.0.0.5; sip-servers { server s 10.0.0.51; }', [qw(5060 5061 5060/udp)] ],
	[ 'sip-proxy', 'virtual-address 10.0.0.5; sip-servers { server s 10.0.0.51; }', [qw(5060 5060/udp)],
		"certificate $pem; settings { server-side 10.0.0.5:5060; path supported; } transport tcp;" => [qw(5060 5060/udp 5061)] ],
	[ 'turn-farm', 'virtual-address 10.0.0.5; turn-servers { server t 10.0.0.61; }', [qw(3478 5349 3478/udp)] ],
	[ 'web-farm', 'virtual-address 10.0.0.5; web-servers { server w 10.0.0.71; }', [qw(443 80)] ],
);

my %only = ( # a finding that is true of a template that stands alone
	'lync-edge-ext-access' => 'mixed-edge', 'lync-edge-ext-webconf' => 'mixed-edge',
	'lync-edge-ext-av' => 'mixed-edge', 'lync-edge-external' => 'mixed-edge', 'lync-edge-int' => 'mixed-edge',
);
my %lync = map { $_ => 1 } qw(front-end web-internal web-external edge-access edge-webconf edge-av edge-internal mediation);

for my $case (@cases) {
	my ($name, $required, $ports, @more) = @$case;
	unshift @more, '', $ports;
	while (my ($extra, $wanted) = splice @more, 0, 2) {
		my $what = $extra ? "$name with $extra" : $name;
		my $also = $required =~ /pool mail;/ ? "pool mail { server m 10.0.0.91; }\n" : '';
		my ($status, $err, $services) = load("${also}deploy $name { $required $extra }\n");
		is($status, 0, "$what loads alone") or diag $err;
		my @found = grep { /\S/ } split /\n/, $err;
		@found = grep { !/lint $only{$name} off/ } @found if $only{$name};
		is("@found", '', "$what: nothing is found");
		my @listen = map { s/.*:(?=\d)//r } map { @{ $_->{listen} } } values %$services;
		is_deeply([sort @listen], [sort @$wanted], "$what: its ports");
		my @wrong;
		for my $service (sort keys %$services) {
			my $s = $services->{$service};
			my $udp = $s->{listen}[0] =~ /udp/;
			my $dnslb = $s->{role} =~ /^web-/;
			push @wrong, "$service: role" if $s->{role} eq 'none';
			push @wrong, "$service: scheduler $s->{scheduler}" if $s->{scheduler} ne 'least-connections';
			my $ends_here = $s->{role} eq 'web-external' && $extra =~ /external-certificate/;
			my $kept = $s->{role} =~ /^(reverse-proxy|office-web)$/ || $ends_here ? 'cookie' : $name eq 'sip-proxy' ? 'sip' : $name eq 'exchange' && $s->{protocol} eq 'http' ? '' : 'source';
			push @wrong, "$service: persistence" if $kept ? ($s->{persistence} // '') !~ /^$kept\b/ || $s->{life}{refresh} ne 'on'
				: ($s->{persistence} // 'off') ne 'off';
			push @wrong, "$service: on-down" if !$udp && $s->{'on-down'} ne 'reset';
			push @wrong, "$service: no monitor" unless @{ $s->{monitors} };
			my $ports = ($s->{listen}[0] =~ /:(\d+)/)[0] . ($s->{pool} =~ /port=(\d+)/ ? "->$1" : '');
			push @wrong, "$service: ports $ports" if $s->{role} eq 'reverse-proxy' ? $ports !~ /^(443->4443|80->8080)$/
				: $s->{pool} =~ /port=/ && $ports !~ /^(\d+)->\1$/;
			push @wrong, "$service: snat $s->{snat}"
				if ($s->{snat} eq 'off') != ($s->{role} eq 'edge-av' || $s->{role} eq 'turn');
			my $turn = $s->{protocol} eq 'turn' && $s->{monitors}[0]{kind} eq 'turn';
			push @wrong, "$service: UDP is checked on " . ($s->{monitors}[0]{port} // '')
				if $udp && !$turn && $s->{role} =~ /^edge/ && ($s->{monitors}[0]{port} // '') ne '443';
			push @wrong, "$service: SIP is not checked" if $dnslb && !grep { ($_->{port} // '') eq '5061' } @{ $s->{monitors} };
			# Who stays for days must be let go when a server drains; media, meetings, calls and what servers say
			# among themselves must not. Where requests are not seen, no phone may be cut that waits for its answer.
			my $let_go = $s->{role} =~ /^(?:sip|web|reverse-proxy|office-web|exchange)$/ && !$udp || $ends_here
				|| $service =~ /^(?:fe|director)-sip$|^edge-access-443$/;
			my $unseen = $dnslb && !$ends_here || $name eq 'exchange-2010' && $s->{optional} ne 'on';
			my $close = $unseen ? '16m' : $let_go ? '1m' : '0';
			push @wrong, "$service: drain-close $s->{'drain-close'}, not $close" if $s->{'drain-close'} ne $close;
			push @wrong, "$service: drain-timeout $s->{'drain-timeout'}" if !$udp && $s->{'drain-timeout'} !~ /^[14]h$/;
			push @wrong, "$service: connect-timeout $s->{'connect-timeout'}" if !$udp && $s->{'connect-timeout'} ne '4s';
			push @wrong, "$service: rise and fall" if grep { $_->{fall} != 3 || $_->{rise} != 2 } @{ $s->{monitors} };
			next unless $lync{ $s->{role} };
			push @wrong, "$service: idle-timeout $s->{'idle-timeout'}" if !$udp && $s->{'idle-timeout'} ne '30m';
			push @wrong, "$service: remembers for $s->{life}{timeout}" if $s->{life}{timeout} ne '20m';
		}
		is("@wrong", '', "$what: settings");
	}
}

# What is of no use to every farm shows as unused; what the farm lives on does not.
{
	my (undef, undef, $services) = load("deploy lync-fe-hlb { $cases[0][1] }\n");
	is_deeply([sort { $a <=> $b } map { $services->{$_}{listen}[0] =~ /:(\d+)$/ } grep { $services->{$_}{optional} eq 'on' } keys %$services],
		[448, 5060, 5067, 5068, 5070, 5071, 5072, 5073, 5075, 5076, 5080], 'optional services of a Front End pool');
	is_deeply($services->{'fe-web-internal'}{listen}, ['10.0.0.5:443', '10.0.0.5:80'], '80 is an extra port of 443');
	is_deeply($services->{'fe-web-external'}{listen}, ['10.0.0.5:4443', '10.0.0.5:8080'], 'and 8080 of 4443');
	is_deeply([map { "$_->{kind} $_->{port}" } @{ $services->{'fe-web-internal'}{monitors} }],
		['tcp 443', 'tcp 80', 'tcp 5061'], 'web is checked on its ports, and where SIP is');
	is($services->{'fe-web-internal'}{'monitor-policy'}, 'all', 'all of them must answer');
	is($services->{'fe-sip'}{monitors}[0]{kind}, 'tls', 'SIP is checked with a whole handshake');
	(undef, undef, $services) = load("deploy lync-edge-external { $cases[7][1] }\n");
	is($services->{'edge-webconf'}{protocol}, 'psom', 'web conferencing is not HTTP');
	is($services->{'edge-webconf'}{monitors}[0]{kind}, 'psom', 'and is checked as what it is');
	is_deeply([map { "$_->{kind} $_->{transport} $_->{dialect}" } @{ $services->{'edge-av-443'}{monitors} }],
		['turn pseudo-tls microsoft'], 'A/V is asked in its own words, and not with TLS');
}

# Parameters are checked, and told by name.
for my $bad (
	[ "deploy lync-fe-hlb { front-ends { $fe } }", qr/needs the parameter virtual-address/ ],
	[ "deploy lync-fe-hlb { virtual-address 10.0.0.5; version 2007; front-ends { $fe } }",
		qr/version 2007: template lync-fe-hlb knows 2010, 2013, 2015, 2019, se/ ],
	[ "deploy lync-fe-hlb { virtual-address 10.0.0.5; front-end { $fe } }", qr/no parameter front-end; did you mean front-ends/ ],
	[ "deploy lync-fe-hlb { virtual-address; front-ends { $fe } }", qr/^\S+: virtual-address needs a value here.*\n.*: 1 error$/m ],
	[ 'deploy web-farm { virtual-address 10.0.0.5; web-servers { server w 10.0.0.71; } idle-timeout soon; }',
		qr/^\S+: idle-timeout soon: .*\(from .*\n.*: 1 error$/m ], # though two services have it
	[ "deploy lync-edge-int { internal-address 10.0.0.6; internal-edges { server edge1 10.0.0.11; } }\n"
		. "deploy lync-fe-hlb { virtual-address 10.0.0.5; front-ends { $fe } }",
		qr/10\.0\.0\.11 is the address of an Edge in edge-int/ ],
) {
	my ($status, $err) = load("$bad->[0]\n");
	is($status, 1, 'refused: ' . substr $bad->[0], 0, 60);
	like($err, $bad->[1], 'in words');
}

# Several addresses, statements of one's own, and settings by parameter.
{
	my ($status, $err, $services) = load("deploy web-farm { virtual-address 10.0.0.5 [fd00::5]; ports 443; idle-timeout 9m;"
		. "web-servers { server w 10.0.0.71; } also { max-connections 7; optional on; } }\n");
	isnt($status, 0, 'a statement that the template has is not taken twice');
	($status, $err, $services) = load("deploy web-farm { virtual-address 10.0.0.5 [fd00::5]; ports 443; idle-timeout 9m;"
		. "web-servers { server w 10.0.0.71; } also { max-connections 7; lint off; } }\n");
	is($status, 0, 'one of your own is') or diag $err;
	my $s = $services->{'web-443'};
	is("@{ $s->{listen} } $s->{'max-connections'} $s->{'idle-timeout'}", '10.0.0.5:443 [fd00::5]:443 7 9m', 'addresses and settings');
}

# steelyardctl tells what there is, without a daemon.
{
	my $ctl = Steelyard::steelyardctl() . " --templates $templates template";
	my $list = `$ctl list`;
	is($?, 0, 'template list');
	my @silent = grep { $list !~ /^\Q$_->[0]\E +\S/m } @cases;
	is("@{[ map { $_->[0] } @silent ]}", '', 'each is there, with a word about it');
	is(scalar(grep { length > 80 } split /\n/, $list), 0, 'in lines that fit a terminal');
	my @cut = grep { !/\.\z/ } split /\n(?=\S)/, $list =~ s/\n\z//r;
	is("@cut", '', 'in whole sentences');
	for my $case (@cases) {
		my $text = `$ctl show $case->[0]`;
		my @parameters = $text =~ /^\tparameter ([\w-]+);/mg;
		like($text, qr/^template \Q$case->[0]\E \{.*^\}\n\z/ms, "$case->[0] is shown whole");
		my @undocumented = grep { $text !~ /^#   .*\b$_\b/m && $text !~ /those of|as in/ } @parameters;
		is("@undocumented", '', "$case->[0] tells what it must be told");
	}
	my $said = `$ctl show lync-edge-in 2>&1`;
	is($? >> 8, 1, 'one that is not there');
	like($said, qr/did you mean lync-edge-int/, 'is answered with the nearest');
}
done_testing;
