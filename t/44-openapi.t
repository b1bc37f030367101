#!/usr/bin/env perl
# The document at /v1/openapi.json says what the API is: every route stands in it and nothing else
# does, and every answer of a running server is as it says, members that it does not name included.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use B ();
use IO::Socket::INET;

my ($s1, $s2) = map { Steelyard->server($_) } qw(s1 s2);
my $sy = Steelyard->start(<<"CONF");
console { listen 127.0.0.1:0; }
pool p {
	server s1 127.0.0.1:@{[ $s1->port ]};
	server s2 127.0.0.1:@{[ $s2->port ]} weight=50;
	server gone 127.0.0.1:1;
}
pool sad { server s3 127.0.0.1:@{[ $s1->port ]}; }
virtual-service web {
	listen 127.0.0.1:0 127.0.0.2:0;
	pool p;
	sorry-pool sad;
	persistence source;
	monitor tcp { interval 100ms; fall 1; rise 1; }
}
virtual-service plain { listen 127.0.0.1:0; pool sad; monitor off; }
CONF
my $console = $sy->console_port;
$sy->wait_up('web', $_) for qw(s1 s2);
$sy->wait_down('web', 'gone');
my @clients = map {
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('web')) or die $@;
	print $sock "hello\n";
	my $line = <$sock>;
	$sock;
} 1 .. 4;
close pop @clients;

# One request over TCP: (status, type, body).
sub ask {
	my ($path) = @_;
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console, Timeout => 10) or die $@;
	print $sock "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";
	local $/;
	my ($head, $body) = split /\r\n\r\n/, <$sock> // '', 2;
	return ($head =~ /^HTTP\S+ (\d+)/, $head =~ /^content-type:\s*([^;\r\n]+)/im, $body);
}

my $decoder = JSON::PP->new->utf8->allow_nonref;
my ($status, $type, $text) = ask('/v1/openapi.json');
is("$status $type", '200 application/json', 'the document is there');
my $doc = $decoder->decode($text);
like($doc->{openapi}, qr/^3\.0\./, 'it says which OpenAPI it is');

# A validator for what the document uses, and for nothing else: an unknown word is an error.
my %known = map { $_ => 1 } qw(type properties required additionalProperties items enum nullable oneOf
	description minItems maxItems minimum maximum default);

sub kind {
	my $value = shift;
	return 'null' unless defined $value;
	return 'boolean' if JSON::PP::is_bool($value);
	return 'array' if ref $value eq 'ARRAY';
	return 'object' if ref $value eq 'HASH';
	my $flags = B::svref_2object(\$value)->FLAGS;
	return 'string' if $flags & B::SVf_POK;
	return $flags & B::SVf_IOK || $value == int $value ? 'integer' : 'number';
}

sub wrong {
	my ($schema, $value, $where) = @_;
	if (my $ref = $schema->{'$ref'}) {
		my ($name) = $ref =~ m{^#/components/schemas/(\w+)$} or return "$where: reference $ref";
		my $to = $doc->{components}{schemas}{$name} or return "$where: no schema $name";
		return wrong($to, $value, $where);
	}
	my @odd = grep { !$known{$_} } keys %$schema;
	return "$where: the validator does not know @odd" if @odd;
	my $is = kind($value);
	return () if $is eq 'null' && $schema->{nullable};
	if ($schema->{oneOf}) {
		my $fits = grep { my @w = wrong($_, $value, $where); !@w } @{ $schema->{oneOf} };
		return $fits == 1 ? () : "$where: fits $fits of oneOf";
	}
	my $type = $schema->{type} // return "$where: no type";
	return "$where: is $is, not $type" unless $is eq $type || $type eq 'number' && $is eq 'integer';
	return "$where: $value is not one of @{ $schema->{enum} }"
		if $schema->{enum} && !grep { $_ eq $value } @{ $schema->{enum} };
	my @found;
	if ($is eq 'array') {
		push @found, "$where: has " . @$value . ' items' if @$value < ($schema->{minItems} // 0)
			|| @$value > ($schema->{maxItems} // 1e9);
		push @found, wrong($schema->{items}, $value->[$_], "$where\[$_]") for 0 .. $#$value;
	} elsif ($is eq 'object') {
		my $props = $schema->{properties} || {};
		push @found, map { "$where: no member $_" } grep { !exists $value->{$_} } @{ $schema->{required} || [] };
		for my $name (sort keys %$value) {
			my $more = $schema->{additionalProperties};
			if ($props->{$name}) {
				push @found, wrong($props->{$name}, $value->{$name}, "$where.$name");
			} elsif (ref $more eq 'HASH') {
				push @found, wrong($more, $value->{$name}, "$where.$name");
			} elsif (defined $more && !$more) {
				push @found, "$where.$name is not in the document (core/role/page/openapi.json)";
			}
		}
	}
	return @found;
}

subtest 'the validator finds what is wrong' => sub {
	my $schema = { type => 'object', required => ['a'], additionalProperties => JSON::PP::false,
		properties => { a => { type => 'integer' }, b => { type => 'string', enum => ['x'] } } };
	my %cases = ('{"a":1}' => 0, '{"a":1,"b":"x"}' => 0, '{"a":"1"}' => 1, '{}' => 1, '{"a":1,"c":1}' => 1,
		'{"a":1,"b":"y"}' => 1, '[]' => 1, '{"a":1.5}' => 1, '{"a":true}' => 1, '{"a":null}' => 1);
	for my $json (sort keys %cases) {
		my @found = wrong($schema, $decoder->decode($json), 'it');
		is(scalar @found, $cases{$json}, "$json: " . (join('; ', @found) || 'fits'));
	}
};

subtest 'the same routes' => sub {
	my %here = map { ("$_->{method} " . $_->{path} =~ s/\*$/{name}/r) => $_ } @{ $sy->api('GET', '/v1')->{routes} };
	my %there;
	for my $path (keys %{ $doc->{paths} }) {
		$there{ uc($_) . " $path" } = $doc->{paths}{$path}{$_} for keys %{ $doc->{paths}{$path} };
	}
	is_deeply([ sort keys %there ], [ sort keys %here ], 'the document has every route, and no other');
	for my $name (sort keys %here) {
		my $says = ($there{$name}{description} // '') =~ /needs the role operate/ && $there{$name}{responses}{403} ? 1 : 0;
		is($says, $here{$name}{changes} ? 1 : 0, "$name: who may");
	}
};

sub fits {
	my ($method, $path, $name, $value) = @_;
	my $response = $doc->{paths}{$path}{$method}{responses}{ $_[4] // 200 };
	my ($schema) = map { $_->{schema} } values %{ $response->{content} };
	my @found = wrong($schema, $value, $name);
	splice @found, 10 if @found > 10;
	is_deeply(\@found, [], "$method $name");
}

subtest 'looking' => sub {
	my %query = ('/v1/effect' => '?server=s1&wish=drain', '/v1/explain' => '?service=web&client=192.0.2.1', '/v1/connections' => '?service=web',
		'/v1/connections/ended' => '?end=client-done&limit=5',
		'/v1/history' => '?service=web&span=day');
	for my $path (sort keys %{ $doc->{paths} }) {
		my $get = $doc->{paths}{$path}{get} or next;
		next if $path eq '/v1/stream';
		my $real = $path =~ s/\{name\}/$path =~ m{^\/page} ? 'main.js' : 'web'/er;
		for my $query ($query{$path} ? $query{$path} : (), $path =~ /explain|effect/ ? () : '') {
			my ($code, $is, $body) = ask("$real$query");
			is($code, 200, "GET $real$query") or diag $body;
			ok($get->{responses}{200}{content}{$is}, "its type is $is");
			fits('get', $path, "$real$query", $is eq 'application/json' ? $decoder->decode($body) : $body);
		}
	}
};

subtest 'the stream' => sub {
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console, Timeout => 10) or die $@;
	print $sock "GET /v1/stream HTTP/1.0\r\nHost: localhost\r\n\r\n";
	my @events;
	local $SIG{ALRM} = sub { die "no events\n" };
	alarm 60;
	my ($down, $seen) = (0, 0);
	while (my $line = <$sock>) {
		push @events, $1 if $line =~ /^data: (.*)/;
		$sy->ctl('drain', 's1') if @events == 2 && !$down++;
		$seen ||= $line =~ /"drained by the operator",/;
		last if $seen && @events > 4 || @events > 30;
	}
	alarm 0;
	cmp_ok(scalar @events, '>', 3, 'events come');
	fits('get', '/v1/stream', "event $_", $decoder->decode($events[$_])) for 0 .. $#events;
	like("@events", qr/"drained by the operator",\d{13}/, 'a change is told, with its reason and time');
	my @n = map { $decoder->decode($_)->{n} } @events;
	is_deeply(\@n, [ $n[0] .. $n[0] + $#n ], 'none is left out');
};

subtest 'errors' => sub {
	for (['/v1/services/nobody', '/v1/services/{name}', 404], ['/v1/history?span=year', '/v1/history', 400],
			['/v1/history?service=nobody', '/v1/history', 404], ['/v1/reasons?service=nobody', '/v1/reasons', 404],
			['/page/..%2fapi.h', '/page/{name}', 404], ['/page/nothing.js', '/page/{name}', 404],
			['/v1/explain?service=nobody&client=192.0.2.1', '/v1/explain', 404], ['/v1/explain', '/v1/explain', 400],
			['/v1/persistence?client=me', '/v1/persistence', 400], ['/v1/effect?server=nobody&wish=drain', '/v1/effect', 404],
			['/v1/effect?server=s1', '/v1/effect', 400], ['/v1/connections/ended?client=me', '/v1/connections/ended', 400]) {
		my ($path, $name, $want) = @$_;
		my ($code, $is, $body) = ask($path);
		is("$code $is", "$want application/json", $path);
		fits('get', $name, $path, $decoder->decode($body), $want);
	}
};

subtest 'changing' => sub {
	for (['POST', '/v1/servers/{name}', '/v1/servers/s1', { wish => 'enable' }],
			['POST', '/v1/servers/{name}', '/v1/servers/s2', { weight => 7, service => 'web' }],
			['POST', '/v1/servers/{name}', '/v1/servers/nobody', { wish => 'drain' }, 404],
			['POST', '/v1/checks', '/v1/checks'], ['POST', '/v1/logout', '/v1/logout'], ['POST', '/v1/confirm', '/v1/confirm', undef, 409],
			['POST', '/v1/reload', '/v1/reload', { confirm => 'soon' }, 400],
			['POST', '/v1/login', '/v1/login', { user => 'x' }, 400], ['POST', '/v1/login', '/v1/login', { user => 'x', password => 'y' }, 403], ['POST', '/v1/log-level', '/v1/log-level', { level => 'info' }],
			['POST', '/v1/log-level', '/v1/log-level', { level => 'loud' }, 400],
			['POST', '/v1/trace', '/v1/trace', {}, 400], ['POST', '/v1/trace', '/v1/trace', { service => 'nobody' }, 404],
			['POST', '/v1/trace', '/v1/trace', { service => 'web', decrypted => JSON::PP::true }, 403],
			['POST', '/v1/trace', '/v1/trace', { service => 'web', client => '127.0.0.1', seconds => 60 }], ['POST', '/v1/trace', '/v1/trace', { service => 'web' }, 409],
			['DELETE', '/v1/persistence', '/v1/persistence?service=web'],
			['DELETE', '/v1/connections', '/v1/connections?service=web'],
			['POST', '/v1/logs/rotate', '/v1/logs/rotate'], ['POST', '/v1/reload', '/v1/reload'],
			['POST', '/v1/stop', '/v1/stop', { how => 'graceful' }]) {
		my ($method, $name, $path, $body, $want) = @$_;
		my ($data, $code) = $sy->api($method, $path, $body);
		is($code, $want // 200, "$method $path");
		fits(lc $method, $name, $path, $data, $want // 200);
	}
};
done_testing;
