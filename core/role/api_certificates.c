/* Certificates of tls blocks: whose, until when. Chains are public; keys never come here. */
#include "conf/certificate.h"
#include "role/api.h"

static json_t *
certificate_json(const struct tls *tls, const struct tls_certificate *from)
{
	struct certificate_facts facts;
	json_t *entry = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "name", from->name, "file",
	                          from->chain.path ? from->chain.path : "", "used_by", tls->where,
	                          "side", tls->server ? "listener" : "pool", "where",
	                          from->node->file ? from->node->file : "", "line",
	                          (int)from->node->line);

	if (!entry || !certificate_facts(from->chain.content, &facts))
		return entry;
	json_object_set_new(entry, "subject", json_string(facts.subject));
	json_object_set_new(entry, "issuer", json_string(facts.issuer));
	json_object_set_new(entry, "names", json_string(facts.names));
	json_object_set_new(entry, "key", json_string(facts.key));
	json_object_set_new(entry, "not_before", json_string(facts.not_before));
	json_object_set_new(entry, "not_after", json_string(facts.not_after));
	json_object_set_new(entry, "days_left", json_integer(facts.days_left));
	json_object_set_new(entry, "chain", json_integer(facts.length));
	return entry;
}

void
api_certificates(struct request *request)
{
	const struct config *config = request->console->child->current->config;
	json_t *list = json_array();

	for (const struct tls *tls = config->tls; tls; tls = tls->next)
		for (uint32_t i = 0; i < tls->n_certificates; i++)
			json_array_append_new(list, certificate_json(tls, &tls->certificates[i]));
	request_json(request, json_pack("{s:o}", "certificates", list));
}
